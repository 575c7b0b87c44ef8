"""Google's SDK through the batch flow of Vertex. Told: base URL, token, model, bucket."""

import json
import sys
import time

sys.path[:] = [place for place in sys.path if not place.endswith("/flows")]

from google import genai  # noqa: E402  # only after the line above
from google.genai import errors, types  # noqa: E402
from google.oauth2.credentials import Credentials  # noqa: E402

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


def ended(client, name):
    while True:
        job = client.batches.get(name=name)
        if job.state.name in ENDED:
            return job
        time.sleep(0.01)


def refused(call):
    try:
        call()
    except errors.APIError as error:
        return [error.code, error.status]
    return None


def opened(base_url, token):
    return genai.Client(
        vertexai=True,
        project="proj",
        location="us-central1",
        credentials=Credentials(token),
        http_options=types.HttpOptions(base_url=base_url),
    )


def main(base_url, token, model, bucket):
    client, saw = opened(base_url, token), {}
    source = f"gs://{bucket}/in.jsonl"
    config = {"display_name": "job-1", "dest": f"gs://{bucket}/out"}
    job = client.batches.create(model=model, src=source, config=config)
    saw["created"] = [job.display_name, job.state.name, job.model]
    done = ended(client, job.name)
    saw["ended"] = [done.state.name, done.dest.gcs_uri, done.completion_stats.successful_count]
    other = client.batches.create(model=model, src=source, config={"dest": f"gs://{bucket}/o"})
    saw["invented_name"] = other.display_name.startswith("genai_batch_job_")
    client.batches.cancel(name=other.name)
    saw["cancelled"] = ended(client, other.name).state.name
    listed = client.batches.list(config={"page_size": 1, "filter": 'display_name="job-1"'})
    saw["listed"] = [one.name == job.name for one in listed]
    saw["all"] = len(list(client.batches.list(config={"page_size": 1})))
    client.batches.delete(name=job.name)
    saw["deleted"] = refused(lambda: client.batches.get(name=job.name))
    saw["no_model"] = refused(
        lambda: client.batches.create(model="publishers/x/models/y", src=source, config=config)
    )
    stranger = opened(base_url, "ya29.wrong")
    saw["no_token"] = refused(lambda: list(stranger.batches.list()))
    saw["live"] = client.models.generate_content(model=model, contents="say live").text
    print(json.dumps(saw))


if __name__ == "__main__":
    main(*sys.argv[1:])
