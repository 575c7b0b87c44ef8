"""Azure OpenAI on loopback: the classic surface with its api-version, and the v1 surface."""

from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web
from tests.fakes._openai import FakeFilesAndBatches
from tests.fakes.vendor import Sold, operation

CLASSIC = "/openai"
V1 = "/openai/v1"


class FakeAzure(FakeFilesAndBatches):
    """A resource with one deployment, called `a-model`."""

    name = "azure"
    key = "0123456789abcdef"
    roots: ClassVar[tuple[str, ...]] = (CLASSIC, V1)
    endpoints: ClassVar[tuple[str, ...]] = ("/chat/completions", "/responses", "/embeddings")
    rows_max = 100_000
    file_has_kind = True
    expiry_s = (1_209_600, 2_592_000)

    def __init__(self, surface: str = "") -> None:
        super().__init__()
        self.surface = surface  #: what a person adds to the resource's address
        self.pending = 0  #: the next so many looks at a new file find it not processed yet

    @property
    def base_url(self) -> str:
        return self.host + self.surface

    def routes(self) -> Iterable[web.RouteDef]:
        yield from super().routes()
        for url in ("/chat/completions", "/embeddings"):
            yield web.post(f"{CLASSIC}/deployments/{{model}}{url}", self.deployed)

    # -- the door -----------------------------------------------------------------------------

    def may_enter(self, request: web.Request) -> bool:
        if request.headers.get("api-key") == self.key:
            return True
        # The v1 surface also takes the key as plain OpenAI clients send it.
        bearer = request.headers.get("authorization") == f"Bearer {self.key}"
        return bearer and request.path.startswith(V1)

    def at_the_door(self, request: web.Request) -> web.Response | None:
        if not request.path.startswith(V1) and not request.query.get("api-version"):
            return self.error(404, "Resource not found", "404")
        return super().at_the_door(request)

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        if status == 401 and not message:
            message = (
                "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
                "provide a valid key for an active subscription and use a correct regional API "
                "endpoint for your resource."
            )
        said = {"code": code or str(status), "message": message or f"It is {status} today."}
        return web.json_response({"error": said}, status=status)

    # -- what is different --------------------------------------------------------------------

    def file_object(self, file_id: str, data: bytes) -> dict[str, Any]:
        found = super().file_object(file_id, data)
        return found | {"status": "pending"} if self.pending > 0 else found

    @operation("file")
    async def get_file(self, request: web.Request) -> web.StreamResponse:
        response = await self.file_there(request)
        self.pending = max(0, self.pending - 1)
        return response

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        if self.pending > 0:
            return self.refuse("The input file is not processed yet.", "invalidPayload")
        return await self.created(request)

    def batch_id(self) -> str:
        letters = self.token(32)
        parts = (letters[:8], letters[8:12], letters[12:16], letters[16:20], letters[20:])
        return f"batch_{'-'.join(parts)}"

    def batch_object(self, sold: Sold) -> dict[str, Any]:
        found = super().batch_object(sold)
        if found["status"] == "failed":
            found["request_counts"] = dict.fromkeys(("total", "completed", "failed"))
        return found | {"endpoint": None, "expires_at": int(sold.at) + 86_400}

    def kept(self, lines: list[bytes]) -> str:
        """Keep a file of results also where there is nothing in it."""
        file_id = super().kept(lines)
        if not file_id:
            file_id = f"file-{self.token()}"
            self.result_files[file_id] = b""
        return file_id

    @operation("live")
    async def deployed(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        if model not in self.models:
            words = "The API deployment for this resource does not exist."
            return self.error(404, words, "DeploymentNotFound")
        body: dict[str, Any] = await request.json()
        return self.answered(request.path, body | {"model": model})


FAKE = FakeAzure
