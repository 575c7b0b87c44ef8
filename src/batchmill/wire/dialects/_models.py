"""
What single models refuse or want otherwise: the facts that change with every release.

A model that is not known here is asked in its dialect's newest way, and the vendor has the last
word. Names may carry a route or a region in front (`openai/gpt-5`, `us.anthropic.claude-…`).
"""

import re

# OpenAI. Reasoning models take no temperature, top_p or penalties but the default, and want
# `max_completion_tokens`: developers.openai.com, guides "reasoning" and "latest-model" (read
# 2026-11-28). gpt-5.1 and later take them with effort `none`, which is their default, except
# gpt-5.6 and later: github.com/vercel/ai/issues/10932, github.com/ItzCrazyKns/Vane/issues/1173.
_REASONING = re.compile(r"(o[1-9]|gpt-5|codex-mini)\b(?!-chat)(?!\.\d+-chat)")
_NEVER_SAMPLES = re.compile(r"(o[1-9]|gpt-5)(-(mini|nano|pro|codex|preview)[a-z-]*)*(-20[\d-]+)?")
_DOTTED = re.compile(r"gpt-5\.\d")

# Anthropic: platform.claude.com, "migration guide", "structured outputs", "effort", "thinking"
# (read 2026-11-28); temperature and top_p together are refused from 4.1 on, both (and top_k) from
# 4.7 on: github.com/Comfy-Org/ComfyUI/issues/13923, github.com/NousResearch/hermes-agent/issues/
# 11137.
_CLAUDE = re.compile(
    r"claude-(?:([a-z]+)-(\d+)(?:[-.](\d{1,2}))?|(\d)(?:[-.](\d))?-([a-z]+))(?!\d)"
)
_NEWEST = (99, 0)

#: Thinking budgets for an effort, where a model has budgets instead (at least 1,024 are asked for).
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}


def _bare(model: str) -> str:
    name = model.rpartition("/")[2]
    return name.removeprefix("ft:").partition(":")[0]


def wants_completion_tokens(model: str) -> bool:
    """Say whether OpenAI calls the limit of this model `max_completion_tokens`."""
    return _REASONING.match(_bare(model)) is not None


def openai_samples(model: str, effort: str) -> bool:
    """Say whether a model of OpenAI takes temperature, top_p and penalties."""
    name = _bare(model)
    if _NEVER_SAMPLES.fullmatch(name):
        return False
    return not (_DOTTED.match(name) and "-chat" not in name and effort not in {"", "none"})


def _claude(model: str) -> tuple[str, tuple[int, int]]:
    found = _CLAUDE.search(model)
    if found is None:
        return "", _NEWEST
    family, major, minor, old_major, old_minor, old_family = found.groups()
    if old_major:
        return old_family, (int(old_major), int(old_minor or 0))
    return family, (int(major), int(minor or 0))


def claude_samples(model: str) -> bool:
    """Say whether a Claude takes temperature, top_p and top_k at all."""
    _, version = _claude(model)
    return version < (4, 7) or version == _NEWEST


def claude_samples_one(model: str) -> bool:
    """Say whether a Claude takes either temperature or top_p, but not both."""
    _, version = _claude(model)
    return (4, 1) <= version < (4, 7)


def claude_has_output_format(model: str) -> bool:
    """Say whether a Claude keeps to a schema by itself; older ones need a forced tool."""
    _, version = _claude(model)
    return version >= (4, 5)


def claude_efforts(model: str) -> tuple[str, ...]:
    """Return the efforts a Claude knows; none where it has thinking budgets instead."""
    family, version = _claude(model)
    if version >= (4, 7):
        return ("low", "medium", "high", "xhigh", "max")
    if version == (4, 6):
        return ("low", "medium", "high", "max")
    if version == (4, 5) and family == "opus":
        return ("low", "medium", "high")
    return ()


def claude_adapts(model: str) -> bool:
    """Say whether a Claude decides by itself how much to think, once asked to."""
    _, version = _claude(model)
    return version >= (4, 6)


def claude_has_budgets(model: str) -> bool:
    """Say whether a Claude still takes a thinking budget."""
    _, version = _claude(model)
    return version < (4, 7) or version == _NEWEST


def gemini_has_levels(model: str) -> bool:
    """Say whether a Gemini takes a thinking level (3 and later); older ones take a budget."""
    found = re.search(r"gemini-(\d+)", model)
    return found is None or int(found[1]) >= 3
