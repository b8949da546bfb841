from collections.abc import Mapping, Sequence
from typing import Any

from turnout_fastpath.policy import PolicySet

class PolicyError(ValueError):
    """The policy cannot be compiled; the message starts with the path of what is wrong."""

def compile_policy(
    document: Mapping[str, Any],
    *,
    heads: Sequence[str],
    tasks: Sequence[str],
    features: Sequence[str],
    output_tokens: Mapping[str, float],
    exemplar_sets: Mapping[str, Sequence[str]],
) -> PolicySet:
    """Compiles a resolved policy document against what a bundle offers.

    Args:
        document: the policy file with every default filled in, as `turnout print-config --resolved` writes it.
        heads: names of the bundle's heads, cheapest first.
        tasks: names of the bundle's tasks, in the order of the classifier's outputs.
        features: names that rules may test, in the order of a decision's features.
        output_tokens: expected answer length in provider tokens, by task; the key "any" where the task is unknown.
        exemplar_sets: example texts that the bundle ships, by name.

    Raises:
        PolicyError: something that the document names does not exist, or breaks a limit.
    """
