"""Headers that the door says it sets (docs/envoy.md)."""

SET_HEADERS = {
    "x-turnout-tier",
    "x-turnout-model",
    "x-turnout-deployment",
    "x-turnout-decision-id",
    "x-turnout-status",
}
