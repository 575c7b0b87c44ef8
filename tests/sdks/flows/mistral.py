"""Mistral's SDK through its whole batch flow. Told: base URL, key, model."""

import json
import sys
import time

try:
    from mistralai.client import Mistral  # 3.x
    from mistralai.client.errors import MistralError

    NEW = True
except ImportError:
    from mistralai import Mistral  # 1.x
    from mistralai.models import MistralError

    NEW = False


def lines(count):
    rows = (
        {"custom_id": str(n), "body": {"messages": [{"role": "user", "content": said}]}}
        for n, said in enumerate([*(f"say {n}" for n in range(count)), "fail invalid_media"])
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def ended(client, job_id):
    while True:
        job = client.batch.jobs.get(job_id=job_id)
        if job.status not in ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED"):
            return job
        time.sleep(0.01)


def told(client, file_id):
    found = client.files.download(file_id=file_id).read().splitlines()
    return sorted((json.loads(line) for line in found), key=lambda line: line["custom_id"])


def batch(client, model, saw):
    content = {"file_name": "in.jsonl", "content": lines(3)}
    file = client.files.upload(file=content, purpose="batch")
    saw["file"] = [file.sample_type, file.source, file.num_lines, file.size_bytes]
    listed = client.files.list(purpose="batch", page_size=5)
    saw["files"] = [one.id for one in listed.data] == [file.id]
    job = client.batch.jobs.create(
        input_files=[file.id],
        model=model,
        endpoint="/v1/chat/completions",
        metadata={"job": "x"},
        timeout_hours=24,
    )
    saw["created"] = [job.status, job.metadata]
    found = client.batch.jobs.list(page_size=2, metadata={"job": "x"}, created_by_me=True)
    saw["listed"] = [one.id for one in found.data] == [job.id]
    saw["others"] = client.batch.jobs.list(metadata={"job": "y"}).total
    job = ended(client, job.id)
    counts = [job.total_requests, job.completed_requests, job.succeeded_requests]
    saw["ended"] = [job.status, *counts, job.failed_requests, [e.message for e in job.errors]]
    saw["answers"] = [
        line["response"]["body"]["choices"][0]["message"]["content"]
        for line in told(client, job.output_file)
    ]
    saw["refused"] = [
        [line["custom_id"], line["response"]["status_code"], json.loads(line["response"]["body"])]
        for line in told(client, job.error_file)
    ]
    saw["inline"] = len(client.batch.jobs.get(job_id=job.id, inline=True).outputs)
    saw["signed"] = client.files.get_signed_url(file_id=job.output_file).url.startswith("http")
    saw["retrieved"] = client.files.retrieve(file_id=file.id).deleted
    saw["deleted"] = client.files.delete(file_id=file.id).deleted
    return file.id


def cancelled(client, model, saw):
    rows = [{"custom_id": "0", "body": {"messages": [{"role": "user", "content": "hi"}]}}]
    inline = client.batch.jobs.create(
        requests=rows, model=model, endpoint="/v1/chat/completions", timeout_hours=48
    )
    saw["cancelled"] = [
        client.batch.jobs.cancel(job_id=inline.id).status,
        ended(client, inline.id).status,
    ]
    if NEW:
        saw["job_deleted"] = client.batch.jobs.delete(job_id=inline.id).deleted


def refused(client, base_url, file_id, saw):
    for name, call in {
        "no_uuid": lambda: client.batch.jobs.get(job_id="bad"),
        "no_file": lambda: client.files.download(file_id=file_id),
        "no_role": lambda: client.files.upload(
            file={"file_name": "in.jsonl", "content": lines(1).replace(b"user", b"oser")},
            purpose="batch",
        ),
        "no_key": Mistral(api_key="wrong", server_url=base_url).models.list,
    }.items():
        try:
            call()
        except MistralError as error:
            saw[name] = [type(error).__name__, error.status_code]


def live(client, model, saw):
    answer = client.chat.complete(model=model, messages=[{"role": "user", "content": "live"}])
    saw["live"] = answer.choices[0].message.content
    vectors = client.embeddings.create(model="mistral-embed", inputs=["a", "b"])
    saw["vectors"] = len(vectors.data)
    saw["models"] = [one.id for one in client.models.list().data]


def main(base_url, key, model):
    client, saw = Mistral(api_key=key, server_url=base_url), {}
    file_id = batch(client, model, saw)
    cancelled(client, model, saw)
    refused(client, base_url, file_id, saw)
    live(client, model, saw)
    print(json.dumps(saw))


main(*sys.argv[1:])
