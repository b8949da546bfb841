"""Where a net's raw outputs, and the exported model's scores, stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outputs:
    """The layout for a number of tasks and heads.

    Raw outputs: tasks, head logits by expert, the gate, the unfamiliar logit, gains by expert, length, and what of the
    public gains is local to a family. Scores, which the engine reads: tasks, head logits, gains, the unfamiliar logit.

    Attributes:
        n_tasks, n_heads: numbers.
        gated: the gate chooses between the experts; false where no everyday request has a label for the heads.
    """

    n_tasks: int
    n_heads: int
    gated: bool = True

    @property
    def tasks(self) -> slice:
        """Task logits, of raw outputs and of scores."""
        return slice(0, self.n_tasks)

    @property
    def public(self) -> slice:
        """Raw logits of the expert for recorded scores."""
        return slice(self.n_tasks, self.n_tasks + self.n_heads)

    @property
    def everyday(self) -> slice:
        """Raw logits of the expert for everyday requests."""
        return slice(self.n_tasks + self.n_heads, self.n_tasks + 2 * self.n_heads)

    @property
    def gate(self) -> int:
        """Raw logit that a request is an everyday one."""
        return self.n_tasks + 2 * self.n_heads

    @property
    def unfamiliar(self) -> int:
        """Raw logit that a text is like nothing seen."""
        return self.gate + 1

    @property
    def public_gain(self) -> slice:
        """Raw gains of the expert for recorded scores."""
        return slice(self.gate + 2, self.gate + 2 + self.n_heads)

    @property
    def everyday_gain(self) -> slice:
        """Raw gains of the expert for everyday requests."""
        return slice(self.gate + 2 + self.n_heads, self.length)

    @property
    def length(self) -> int:
        """Standardised length of the text."""
        return self.gate + 2 + 2 * self.n_heads

    @property
    def local_gain(self) -> slice:
        """The part of the public gains that is more than the means of kinds: what holds within a family."""
        return slice(self.length + 1, self.n_raw)

    @property
    def n_raw(self) -> int:
        """Number of raw outputs."""
        return self.length + 1 + self.n_heads

    @property
    def by_experts(self) -> list[int]:
        """Raw outputs of the experts for recorded scores, local gains apart."""
        return [*range(self.n_raw)[self.public], *range(self.n_raw)[self.public_gain]]

    @property
    def by_net(self) -> list[int]:
        """Raw outputs of the net, in its order; its kinds stand after the tasks."""
        return sorted(set(range(self.length)) - set(self.by_experts))

    @property
    def logits(self) -> slice:
        """Head logits of the scores."""
        return self.public

    @property
    def gains(self) -> slice:
        """Gains of the scores."""
        return self.everyday

    @property
    def n_scores(self) -> int:
        """Number of scores."""
        return self.n_tasks + 2 * self.n_heads + 1
