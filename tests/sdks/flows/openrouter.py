"""OpenRouter's SDK through its whole batch flow. Told: base URL, key, model."""

import json
import sys
import time

from openrouter import OpenRouter
from openrouter.errors import OpenRouterError

ENDED = ("completed", "failed", "expired", "cancelled")


def ended(client, batch_id):
    while True:
        batch = client.batch.get_batches(id=batch_id)
        if batch.status in ENDED:
            return batch
        time.sleep(0.01)


def requests(*texts):
    bodies = ({"messages": [{"role": "user", "content": text}]} for text in texts)
    return [{"custom_id": str(n), "body": body} for n, body in enumerate(bodies)]


def bought(client, model, *texts):
    return client.batch.create_batches(
        endpoint="/v1/chat/completions", model=model, requests=requests(*texts)
    )


def main(base_url, key, model):
    client, saw = OpenRouter(api_key=key, server_url=base_url), {}
    batch = bought(client, model, "say 0", "say 1", "fail too_long")
    saw["created"] = batch.status
    listed = client.batch.list(limit=10).result
    saw["listed"] = [[one.id == batch.id, one.request_counts.total] for one in listed.data]
    batch = ended(client, batch.id)
    counts = batch.request_counts
    saw["ended"] = [batch.status, counts.total, counts.completed, counts.failed]
    told = sorted(batch.results, key=lambda one: one.custom_id)
    saw["answers"] = [one.response.body.choices[0].message.content for one in told[:2]]
    saw["error"] = [told[2].custom_id, told[2].error.error_type]
    saw["deleted"] = client.batch.delete(id=batch.id).deletion.openrouter
    for name, call in {
        "gone": lambda: client.batch.get_batches(id=batch.id),
        "no_variant": lambda: bought(client, model.removesuffix(":batch"), "x"),
        "no_key": lambda: bought(OpenRouter(api_key="wrong", server_url=base_url), model, "x"),
    }.items():
        try:
            call()
        except OpenRouterError as error:
            saw[name] = error.status_code
    print(json.dumps(saw))


main(*sys.argv[1:])
