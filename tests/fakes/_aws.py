"""What AWS looks at before a service does: the signature, and the request against its model."""

import functools
import re
from typing import Any

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

KEY_ID, SECRET, REGION = "AKIAFAKE", "a-secret", "us-east-1"
#: An API key of Bedrock's own, which does in place of a signature (but not in S3).
BEARER = "bedrock-api-key-fake"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def misgiving(request: web.Request, body: bytes) -> tuple[str, str] | None:
    """Return the code and the words with which a call is turned away; None: it is signed well."""
    given = request.headers.get("authorization", "")
    if given.startswith("Bearer "):
        good = given == f"Bearer {BEARER}"
        return None if good else ("AccessDeniedException", "Authentication failed: API Key invalid")
    found = _AUTHORIZATION.fullmatch(given)
    if found is None:
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    key_id, day, region, service, names, signature = found.groups()
    if key_id != KEY_ID:
        return (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    stamp = request.headers.get("x-amz-date", "")
    if (region, service) != (REGION, "bedrock") or not stamp.startswith(day):
        return "InvalidSignatureException", "Credential should be scoped to a valid region."
    missing = {"host", "x-amz-date"} - set(names.split(";"))
    covered = {name: request.headers[name] for name in names.split(";") if name in request.headers}
    covered.pop("host", None)
    signed = AWSRequest(
        request.method, f"http://{request.host}{request.raw_path}", headers=covered, data=body
    )
    signed.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(KEY_ID, SECRET), "bedrock", REGION)
    text = signer.string_to_sign(signed, signer.canonical_request(signed))
    if missing or signer.signature(text, signed) != signature:
        return (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        )
    return None


@functools.cache
def _service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"))


def complaint(service: str, operation: str, given: dict[str, Any], *, besides: str = "") -> str:
    """Return what botocore's model of an operation has against its input; empty: nothing."""
    shape = _service(service).operation_model(operation).input_shape
    assert shape is not None
    whole = {**given, besides: "a-model"} if besides else given
    report = ParamValidator().validate(whole, shape).generate_report()
    return report or next(_unlike(given, shape, ""), "")


def _unlike(value: Any, shape: Shape, path: str) -> Any:
    """Yield complaints about texts that are not of the form the model wants, which SDKs skip."""
    if isinstance(value, dict) and shape.type_name == "structure":
        members: Any = getattr(shape, "members", {})
        for name, each in value.items():
            if name in members:
                yield from _unlike(each, members[name], f"{path}.{name}")
    facts: Any = shape.metadata
    pattern: str = facts.get("pattern") or ".*"
    if isinstance(value, str) and re.fullmatch(pattern, value) is None:
        yield f"Value at '{path[1:]}' failed to satisfy constraint: {pattern}"
    allowed = facts.get("enum")
    if allowed and value not in allowed:
        yield f"Value at '{path[1:]}' must be one of {allowed}"
