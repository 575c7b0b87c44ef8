"""What Anthropic's SDK does by itself when no answer to a create comes. Told: URL, key, model."""

import json
import sys

from anthropic import Anthropic, APIConnectionError


def main(base_url, key, model):
    client = Anthropic(api_key=key, base_url=base_url)
    params = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}
    try:
        client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    except APIConnectionError as error:
        print(json.dumps(type(error).__name__))


main(*sys.argv[1:])
