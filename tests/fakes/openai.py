"""OpenAI on loopback, as its API reference and the traffic of its official SDKs have it."""

from tests.fakes._openai import FakeFilesAndBatches


class FakeOpenAI(FakeFilesAndBatches):
    """Files, Batches, chat, responses, embeddings and models below `/v1`."""

    name = "openai"

    @property
    def base_url(self) -> str:
        return f"{self.host}/v1"


FAKE = FakeOpenAI
