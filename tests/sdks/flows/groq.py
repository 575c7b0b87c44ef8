"""Groq's SDK through its whole batch flow. Told: host, key, model."""

import json
import sys
import time

from groq import APIStatusError, Groq

URL = "/v1/chat/completions"
ROWS = ("say a", "fail server", "fail invalid_request")


def lines(model, rows):
    for n, said in enumerate(rows):
        body = {"model": model, "messages": [{"role": "user", "content": said}]}
        yield json.dumps({"custom_id": f"r-{n}", "method": "POST", "url": URL, "body": body})


def ended(client, batch_id):
    while True:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
        time.sleep(0.01)


def told(client, *files):
    found = {}
    for file_id in filter(None, files):
        for one in client.files.content(file_id).text().splitlines():
            read = json.loads(one)
            response, error = read["response"], read["error"]
            found[read["custom_id"]] = response["status_code"] if response else error["code"]
    return dict(sorted(found.items()))


def refused(call):
    try:
        call()
    except APIStatusError as error:
        return [error.status_code, error.body["error"]["code"]]
    return None


def main(host, key, model):
    client, saw = Groq(base_url=host, api_key=key, max_retries=0), {}
    data = ("\n".join(lines(model, ROWS)) + "\n").encode()
    sent = client.files.create(file=("in.jsonl", data), purpose="batch")
    saw["file"] = [sent.object, sent.filename, sent.purpose, sorted(sent.to_dict())]
    saw["info"] = client.files.info(sent.id).id == sent.id
    saw["files"] = [one.filename for one in client.files.list().data]
    made = client.batches.create(
        input_file_id=sent.id, endpoint=URL, completion_window="7d", metadata={"run": "one"}
    )
    saw["created"] = [made.object, made.status, made.completion_window, made.metadata]
    batch = ended(client, made.id)
    counts = batch.request_counts
    saw["ended"] = [batch.status, counts.total, counts.completed, counts.failed]
    saw["told"] = told(client, batch.output_file_id, batch.error_file_id)
    other = client.batches.create(
        input_file_id=sent.id, endpoint=URL, completion_window="24h", metadata={"run": "two"}
    )
    saw["listed"] = [one.metadata["run"] for one in client.batches.list().data]
    saw["cancelling"] = client.batches.cancel(other.id).status
    saw["cancelled"] = ended(client, other.id).status
    saw["deleted"] = client.files.delete(sent.id).deleted
    saw["no_batch"] = refused(lambda: client.batches.retrieve("batch_nope"))
    stranger = Groq(base_url=host, api_key="wrong", max_retries=0)
    saw["no_key"] = refused(stranger.models.list)
    chat = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "say live"}]
    )
    saw["live"] = chat.choices[0].message.content
    saw["models"] = [one.id for one in client.models.list().data]
    print(json.dumps(saw))


main(*sys.argv[1:])
