"""Anthropic's SDK through its whole batch flow. Told: base URL, key, model."""

import json
import sys
import time

from anthropic import Anthropic, APIStatusError

ROWS = ("say a", "say b", "fail server", "fail refused", "fail expired")


def request(name, model, said):
    params = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": said}]}
    return {"custom_id": name, "params": params}


def ended(batches, batch_id):
    while True:
        batch = batches.retrieve(batch_id)
        if batch.processing_status == "ended":
            return batch
        time.sleep(0.01)


def told(batches, batch_id):
    found = {}
    for line in batches.results(batch_id):
        result = line.result
        if result.type == "succeeded":
            texts = [block.text for block in result.message.content]
            found[line.custom_id] = [result.message.stop_reason, *texts]
        elif result.type == "errored":
            found[line.custom_id] = [result.error.error.type, result.error.error.message]
        else:
            found[line.custom_id] = [result.type]
    return dict(sorted(found.items()))


def refused(call):
    try:
        call()
    except APIStatusError as error:
        return [error.status_code, error.body["error"]["type"], error.request_id is not None]
    return None


def main(base_url, key, model):
    client, saw = Anthropic(api_key=key, base_url=base_url, max_retries=0), {}
    batches = client.messages.batches
    made = batches.create(requests=[request(f"r-{n}", model, s) for n, s in enumerate(ROWS)])
    saw["created"] = [made.type, made.processing_status, made.request_counts.processing]
    saw["expires_after_s"] = (made.expires_at - made.created_at).total_seconds()
    batch = ended(batches, made.id)
    saw["counts"] = batch.request_counts.to_dict()
    saw["told"] = told(batches, made.id)
    other = batches.create(requests=[request("x", model, "say x")])
    saw["listed"] = [one.id for one in batches.list(limit=1)] == [other.id, made.id]
    saw["canceling"] = batches.cancel(other.id).processing_status
    ended(batches, other.id)
    saw["canceled"] = told(batches, other.id)
    saw["deleted"] = batches.delete(made.id).type

    beta = client.beta.messages.batches
    extra = beta.create(
        requests=[request("b", model, "say beta")], betas=["output-300k-2026-03-24"]
    )
    ended(beta, extra.id)
    saw["beta"] = told(beta, extra.id)

    saw["no_batch"] = refused(lambda: batches.retrieve(made.id))
    twice = [request("a", model, "say a")] * 2
    saw["twice"] = refused(lambda: batches.create(requests=twice))
    saw["odd_id"] = refused(lambda: batches.create(requests=[request("a.b", model, "say a")]))
    stranger = Anthropic(api_key="wrong", base_url=base_url, max_retries=0)
    saw["no_key"] = refused(lambda: stranger.models.list(limit=1))
    saw["live"] = client.messages.create(**request("", model, "say live")["params"]).content[0].text
    saw["models"] = [one.id for one in client.models.list(limit=1)]
    print(json.dumps(saw))


main(*sys.argv[1:])
