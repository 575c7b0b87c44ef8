"""boto3 through Bedrock's whole batch flow. Told: endpoint, key id, secret, bucket, role, models."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROWS = ("say a", "say b", "fail server", "fail too_long", "fail refused")
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 16}


def said(text):
    return {**CLAUDE, "messages": [{"role": "user", "content": text}]}


def conversed(text):
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def uploaded(s3, bucket, key, inputs):
    records = [{"recordId": f"RECORD{n:05d}", "modelInput": one} for n, one in enumerate(inputs)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    s3.put_object(Bucket=bucket, Key=key, Body=lines.encode())
    return f"s3://{bucket}/{key}"


def ended(bedrock, arn):
    seen = []
    while True:
        job = bedrock.get_model_invocation_job(jobIdentifier=arn)
        if job["status"] not in seen:
            seen.append(job["status"])
        if "endTime" in job or job["status"] in ("Completed", "Stopped", "Expired", "Failed"):
            return job, seen
        time.sleep(0.01)


def told(s3, bucket, folder):
    found, counts = {}, {}
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", []):
        data = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        if entry["Key"].endswith("manifest.json.out"):
            counts = json.loads(data)
            continue
        for line in data.splitlines():
            record = json.loads(line)
            if "error" in record:
                found[record["recordId"]] = record["error"]["errorCode"]
            else:
                output = record["modelOutput"]
                found[record["recordId"]] = output.get("stop_reason") or output["stopReason"]
    return dict(sorted(found.items())), counts


def refused(call):
    try:
        call()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return [status, error.response["Error"]["Code"]]
    return None


def live(runtime, claude, other):
    message = runtime.converse(modelId=other, **conversed("say live"))["output"]["message"]
    answer = runtime.invoke_model(modelId=claude, body=json.dumps(said("say native")))
    native = json.loads(answer["body"].read())
    return {"converse": message["content"][0]["text"], "invoke": native["content"][0]["text"]}


def connected(service, endpoint, key_id, secret):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )


def main(endpoint, key_id, secret, bucket, role, claude, other):
    def client(service, secret=secret, key_id=key_id):
        return connected(service, endpoint, key_id, secret)

    bedrock, s3, saw = client("bedrock"), client("s3"), {}

    def create(name, source, model, **more):
        return bedrock.create_model_invocation_job(
            jobName=name,
            roleArn=role,
            modelId=model,
            inputDataConfig={"s3InputDataConfig": {"s3Uri": source, "s3InputFormat": "JSONL"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}/{name}/out/"}},
            **more,
        )["jobArn"]

    source = uploaded(s3, bucket, "one/input.jsonl", map(said, ROWS))
    arn = create("one", source, claude, clientRequestToken="tok1", timeoutDurationInHours=24)
    saw["again"] = (
        create("one", source, claude, clientRequestToken="tok1", timeoutDurationInHours=24) == arn
    )
    saw["conflict"] = refused(lambda: create("other", source, claude, clientRequestToken="tok1"))
    job, saw["states"] = ended(bedrock, arn)
    saw["job"] = [job["successRecordCount"], job["errorRecordCount"], job["totalRecordCount"]]
    saw["token"] = job["clientRequestToken"]
    saw["told"], saw["manifest"] = told(s3, bucket, "one/out/")

    source = uploaded(s3, bucket, "two/input.jsonl", map(conversed, ROWS))
    two = create("two", source, other, modelInvocationType="Converse")
    saw["stopping"] = bedrock.stop_model_invocation_job(jobIdentifier=two.rpartition("/")[2])[
        "ResponseMetadata"
    ]["HTTPStatusCode"]
    saw["stopped"] = ended(bedrock, two)[0]["status"]
    saw["told_in_converse"], _ = told(s3, bucket, "two/out/")
    saw["too_late"] = refused(lambda: bedrock.stop_model_invocation_job(jobIdentifier=two))

    listed = bedrock.list_model_invocation_jobs(
        nameContains="o",
        submitTimeAfter=datetime.now(UTC) - timedelta(hours=1),
        sortBy="CreationTime",
        sortOrder="Descending",
        maxResults=1,
    )
    saw["listed"] = [one["jobArn"] == two for one in listed["invocationJobSummaries"]]
    more = bedrock.list_model_invocation_jobs(
        nameContains="o", maxResults=1, nextToken=listed["nextToken"]
    )
    saw["listed"] += [one["clientRequestToken"] for one in more["invocationJobSummaries"]]

    saw |= live(client("bedrock-runtime"), claude, other)
    wrong = client("bedrock", secret="wrong")
    saw["wrong_secret"] = refused(wrong.list_model_invocation_jobs)
    nobody = client("bedrock", key_id="AKIANOBODY")
    saw["wrong_key"] = refused(nobody.list_model_invocation_jobs)
    saw["no_model"] = refused(lambda: create("three", source, "no.such-model"))
    saw["no_job"] = refused(lambda: bedrock.get_model_invocation_job(jobIdentifier="a" * 12))
    print(json.dumps(saw))


main(*sys.argv[1:])
