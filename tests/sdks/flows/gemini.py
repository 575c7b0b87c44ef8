"""Google's SDK through the whole batch flow of the Gemini API. Told: base URL, key, model, folder."""

import io
import json
import sys
import time
from pathlib import Path

sys.path[:] = [place for place in sys.path if not place.endswith("/flows")]

from google import genai  # noqa: E402  # only after the line above
from google.genai import errors, types  # noqa: E402

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


def body(text):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def lines(*texts):
    rows = [{"key": f"k-{n}", "request": body(text)} for n, text in enumerate(texts)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def ended(client, name):
    while True:
        job = client.batches.get(name=name)
        if job.state.name in ENDED:
            return job
        time.sleep(0.01)


def told(data):
    found = {}
    for line in data.splitlines():
        row = json.loads(line)
        if "error" in row:
            found[row["key"]] = row["error"]["code"]
        else:
            found[row["key"]] = row["response"]["candidates"][0]["content"]["parts"][0]["text"]
    return dict(sorted(found.items()))


def refused(call):
    try:
        call()
    except errors.APIError as error:
        return [error.code, error.status]
    return None


def by_file(client, model, folder, saw):
    path = Path(folder) / "in.jsonl"
    path.write_bytes(lines("say a", "say b", "fail server"))
    config = types.UploadFileConfig(name="my-own-name", display_name="in", mime_type="jsonl")
    sent = client.files.upload(file=str(path), config=config)
    saw["uploaded"] = [sent.name, sent.state.name, sent.size_bytes == path.stat().st_size]
    saw["got"] = client.files.get(name=sent.name).name
    saw["listed_files"] = [file.name for file in client.files.list()]
    saw["same_name"] = refused(lambda: client.files.upload(file=str(path), config=config))
    job = client.batches.create(model=model, src=sent.name, config={"display_name": "job-1"})
    saw["created"] = [job.display_name, job.state.name]
    job = ended(client, job.name)
    saw["ended"] = [job.state.name, job.dest.file_name == f"files/batch-{job.name[8:]}"]
    saw["told"] = told(client.files.download(file=job.dest.file_name))
    client.files.delete(name=sent.name)
    saw["gone"] = refused(lambda: client.files.get(name=sent.name))
    return job


def large(client, saw):
    data = lines(*("word " * 2000 for _ in range(1000)))
    config = types.UploadFileConfig(mime_type="application/jsonl")
    sent = client.files.upload(file=io.BytesIO(data), config=config)
    saw["large"] = [len(data) > 8 << 20, sent.size_bytes == len(data)]


def inline(client, model, saw):
    asked = [
        {**body("say c"), "metadata": {"key": "c"}, "config": {"temperature": 0.5}},
        {**body("fail invalid_request"), "metadata": {"key": "d"}},
    ]
    job = client.batches.create(model=model, src=asked, config={"display_name": "job-2"})
    found = ended(client, job.name).dest.inlined_responses
    saw["inline"] = sorted(
        [one.metadata["key"], one.response.text if one.response else one.error.code]
        for one in found
    )


def vectors(client, saw):
    data = json.dumps({"key": "e", "request": {"content": {"parts": [{"text": "abc"}]}}}).encode()
    config = types.UploadFileConfig(mime_type="application/jsonl")
    sent = client.files.upload(file=io.BytesIO(data), config=config)
    job = client.batches.create_embeddings(
        model="gemini-embedding-001", src={"file_name": sent.name}, config={"display_name": "e"}
    )
    job = ended(client, job.name)
    [line] = client.files.download(file=job.dest.file_name).splitlines()
    saw["vector"] = json.loads(line)["response"]["embedding"]["values"]
    src = {"inlined_requests": {"contents": ["t1"], "config": {"output_dimensionality": 8}}}
    job = client.batches.create_embeddings(model="gemini-embedding-001", src=src)
    found = ended(client, job.name).dest.inlined_embed_content_responses
    saw["inline_vector"] = found[0].response.embedding.values


def main(base_url, key, model, folder):
    options = types.HttpOptions(base_url=base_url)
    client, saw = genai.Client(api_key=key, http_options=options), {}
    job = by_file(client, model, folder, saw)
    large(client, saw)
    inline(client, model, saw)
    vectors(client, saw)
    other = client.batches.create(
        model=model, src=[body("x")], config={"display_name": "to-be-cancelled"}
    )
    client.batches.cancel(name=other.name)
    saw["cancelled"] = ended(client, other.name).state.name
    saw["listed"] = [one.display_name for one in client.batches.list(config={"page_size": 2})][:2]
    client.batches.delete(name=job.name)
    saw["deleted"] = refused(lambda: client.batches.get(name=job.name))
    saw["no_model"] = refused(lambda: client.batches.create(model="gpt-4", src=[body("x")]))
    stranger = genai.Client(api_key="wrong", http_options=options)
    saw["no_key"] = refused(lambda: list(stranger.batches.list()))
    saw["live"] = client.models.generate_content(model=model, contents="say live").text
    print(json.dumps(saw))


if __name__ == "__main__":
    main(*sys.argv[1:])
