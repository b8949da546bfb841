from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

Need: TypeAlias = Literal["json", "json_schema", "tools", "image", "audio", "file"]
RoleName: TypeAlias = Literal["user", "assistant", "system", "developer", "tool"]
Message: TypeAlias = tuple[RoleName | int, str | bytes] | Mapping[str, Any]
Messages: TypeAlias = Sequence[Message]

class RequestFields(TypedDict, total=False):
    """Everything of a request but its text; the names and limits are those of turnout.v1.RouteRequest."""

    policy: str
    needs: Sequence[Need]
    n_tools: int
    tool_schema_bytes: int
    media_bytes: int
    expected_output_tokens: int
    context_tokens: int
    answer_use: int | Literal["unspecified", "person", "program", "prompt", "action"]
    tenant: str
    user_tier: str
    feature: str
    session_id: str
    labels: Mapping[str, str]
    min_tier: str
    max_tier: str
    allowed_deployments: Sequence[str]
    allowed_regions: Sequence[str]
    max_cost_usd: float | None
    quality_bar: float | None
    explain: bool
    rules_only: bool
    decision_id: str

class Request:
    """A request, checked; it may be decided any number of times.

    Text is UTF-8 or str. Invalid UTF-8, and lone surrogates of a str, read as U+FFFD.
    """

    def __init__(
        self,
        prompt: str | bytes | None = None,
        *,
        messages: Messages | None = None,
        **fields: Unpack[RequestFields],
    ) -> None:
        """Checks and lays out a request.

        Args:
            prompt: the user's question, at most 4 MiB; or `messages`, not both.
            messages: turns, oldest first, as (role, text) or as the mappings of the chat completions API; at most
                16,384 turns and 4 MiB of text. The last user turn is judged.
            fields: `rules_only` leaves the classifier out (status DEFAULTED); `decision_id` replays a decision.

        Raises:
            RouteError: names the field, the value and the limit.
        """

    @property
    def explain(self) -> bool:
        """True if decisions shall carry an explanation."""

    @property
    def text_bytes(self) -> int:
        """Size of all text, UTF-8."""
