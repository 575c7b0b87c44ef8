"""OpenAI's SDK through its whole batch flow. Told: base URL, key, model, and Azure's version or ''."""

import json
import sys
import time

from openai import APIStatusError, AzureOpenAI, OpenAI

ROWS = ("say a", "say b", "fail server", "fail refused", "fail too_long")
ENDED = ("completed", "failed", "expired", "cancelled")


def line(name, url, body):
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def chats(model, url, rows=ROWS):
    said = ({"model": model, "messages": [{"role": "user", "content": row}]} for row in rows)
    lines = (line(f"r-{n}", url, body) for n, body in enumerate(said))
    return "".join(json.dumps(one) + "\n" for one in lines).encode()


def ended(client, batch_id):
    while True:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ENDED:
            return batch
        time.sleep(0.01)


def told(client, *files):
    found = {}
    for file_id in filter(None, files):
        for one in client.files.content(file_id).text.splitlines():
            read = json.loads(one)
            response, error = read["response"], read["error"]
            found[read["custom_id"]] = response["status_code"] if response else error["code"]
    return dict(sorted(found.items()))


def refused(call):
    try:
        call()
    except APIStatusError as error:
        return [error.status_code, error.code, error.message != ""]
    return None


def opened(base_url, key, version):
    if version:
        return AzureOpenAI(azure_endpoint=base_url, api_key=key, api_version=version, max_retries=0)
    return OpenAI(base_url=base_url, api_key=key, max_retries=0)


def files(client, url, model, soon):
    saw = {}
    sent = client.files.create(file=("in.jsonl", chats(model, url)), purpose="batch")
    short = chats(model, url, ["say late", "say never"])
    more = client.files.create(
        file=("late.jsonl", short, "application/jsonl"),
        purpose="batch",
        extra_body={"expires_after": {"anchor": "created_at", "seconds": soon}},
    )
    saw["file"] = [sent.object, sent.filename, sent.purpose, sent.status, sent.bytes > 100]
    saw["again"] = client.files.retrieve(sent.id).id == sent.id
    listed = client.files.list(purpose="batch", limit=1, order="asc")
    saw["files"] = [one.filename for one in listed]
    saw["not_jsonl"] = refused(lambda: client.files.create(file=b"no json", purpose="batch"))
    return sent.id, more.id, saw


def batches(client, url, first, second, soon):
    saw = {}
    made = client.batches.create(
        input_file_id=first,
        endpoint=url,
        completion_window="24h",
        metadata={"run": "one"},
        extra_body={"output_expires_after": {"anchor": "created_at", "seconds": soon}},
    )
    saw["created"] = [made.object, made.status, made.metadata, made.errors]
    batch = ended(client, made.id)
    counts = batch.request_counts
    saw["ended"] = [batch.status, counts.total, counts.completed, counts.failed]
    saw["told"] = told(client, batch.output_file_id, batch.error_file_id)
    with client.files.with_streaming_response.content(batch.output_file_id) as body:
        saw["streamed"] = len(list(filter(None, body.iter_lines())))
    other = client.batches.create(
        input_file_id=second, endpoint=url, completion_window="24h", metadata={"run": "two"}
    )
    saw["listed"] = [one.metadata["run"] for one in client.batches.list(limit=1)]
    saw["cancelling"] = client.batches.cancel(other.id).status
    stopped = ended(client, other.id)
    saw["cancelled"] = [stopped.status, told(client, stopped.output_file_id, stopped.error_file_id)]
    saw["too_late"] = refused(lambda: client.batches.cancel(made.id))
    saw["no_batch"] = refused(lambda: client.batches.retrieve("batch_nope"))
    wrong = {"input_file_id": first, "endpoint": "/v1/nonsense", "completion_window": "24h"}
    saw["no_endpoint"] = refused(lambda: client.batches.create(**wrong))
    lost = client.batches.create(input_file_id="file-gone", endpoint=url, completion_window="24h")
    failed = ended(client, lost.id)
    error = failed.errors.data[0]
    saw["failed"] = [failed.status, error.code, error.param, error.line]
    return saw


def main(base_url, key, model, version, url, seconds):
    client, soon = opened(base_url, key, version), int(seconds)
    first, second, saw = files(client, url, model, soon)
    saw |= batches(client, url, first, second, soon)
    saw["deleted"] = [client.files.delete(one).deleted for one in (first, second)]
    saw["no_file"] = refused(lambda: client.files.content(first))
    saw["no_key"] = refused(opened(base_url, "wrong", version).batches.list)
    chat = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "say live"}]
    )
    saw["live"] = [chat.choices[0].message.content, chat.usage.prompt_tokens_details.cached_tokens]
    saw["responses"] = client.responses.create(model=model, input="say live").output_text
    saw["embeddings"] = (
        client.embeddings.create(model=model, input="abc", encoding_format="float")
        .data[0]
        .embedding
    )
    saw["models"] = [one.id for one in client.models.list()]
    print(json.dumps(saw))


main(*sys.argv[1:])
