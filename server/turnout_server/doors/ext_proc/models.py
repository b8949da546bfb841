"""Decisions for a gateway, and the providers' names of the models that they lead to."""

from __future__ import annotations

from turnout_fastpath import Decision, Request, Snapshot

from turnout_server.routing import Router


class Models:
    """Decides by the router, and knows the models of its deployments."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._read: Snapshot | None = None
        self._models: dict[str, str] = {}

    def decide(self, request: Request) -> Decision:
        """Decides, and counts nothing."""
        return self._router.decide_uncounted(request)

    def model_of(self, deployment: str) -> str:
        """The provider's name of a deployment's model; of one that a new policy lacks, its own name."""
        snapshot = self._router.snapshot
        if self._read is not snapshot:
            tiers = snapshot.policies.document["tiers"]
            self._models = {entry["name"]: entry["model"] for tier in tiers for entry in tier["chain"]}
            self._read = snapshot
        return self._models.get(deployment, deployment)
