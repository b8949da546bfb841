from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.decision import Decision
from turnout_fastpath.errors import RouteError
from turnout_fastpath.request import Messages, Request, RequestFields
from turnout_fastpath.snapshot import Snapshot
from turnout_fastpath.state import StateBlock

class Engine:
    """Decides which tier and deployment should answer a request.

    Thread-safe: any number of threads may call one engine, and the GIL is released while a decision is made. An engine
    holds no process-wide state; load it after a fork, not before.
    """

    def __init__(self, snapshot: Snapshot) -> None: ...
    @staticmethod
    def load(
        bundle: str | PathLike[str] | Bundle | None = None,
        policy: str | PathLike[str] | Mapping[str, Any] | None = None,
        *,
        state: str | PathLike[str] | None = None,
    ) -> Engine:
        """Loads a bundle and a policy and compiles them.

        Args:
            bundle: folder of a bundle, or a loaded one; None means the one that ships with the package.
            policy: a resolved policy document or the file that holds it (`turnout print-config --resolved`); None means
                the default policy.
            state: file of the live state that is shared with other processes; None means private memory.

        Raises:
            BundleError: the bundle is missing, damaged, or made for other kernels.
            ClassifierError: ONNX Runtime is missing, or refuses the bundle's model.
            PolicyDocumentError, PolicyError: the policy cannot be read, or names what the bundle does not have.
            StateError: the state file has another layout.
        """

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made with now."""

    def install(self, snapshot: Snapshot) -> None:
        """Swaps the snapshot atomically; decisions under way finish with the one that they began with."""

    def reload(
        self,
        bundle: str | PathLike[str] | Bundle | None = None,
        policy: str | PathLike[str] | Mapping[str, Any] | None = None,
    ) -> None:
        """Loads as `load` does and swaps; on an error the old snapshot stays. The live state is kept."""

    def route(
        self,
        prompt: str | bytes | None = None,
        *,
        messages: Messages | None = None,
        **fields: Unpack[RequestFields],
    ) -> Decision:
        """Decides one request, given by its fields; see Request.

        Raises:
            RouteError: the request breaks a limit, names what the policy does not have, or leaves no deployment.
        """

    def decide(self, request: Request) -> Decision:
        """Decides one request; raises as `route` does."""

    def classifier_inputs(self, request: Request) -> npt.NDArray[np.float32]:
        """The row that the classifier reads of a request: features, embedding, n-gram sums, familiarity.

        This is the vector to store where text is not kept; it can be trained on with every bundle of the same
        `turnout_fastpath.bundle.inputs_revision`.

        Returns:
            (inputs,), float32.

        Raises:
            RouteError: as `route`, but for a request that no deployment can serve.
            ValueError: the request is `rules_only`.
        """

    def route_many(self, requests: Iterable[Request | str]) -> list[Decision | RouteError]:
        """Decides requests in order, each as `route` would, bit for bit; an error stands in its request's place."""

def compile_snapshot(
    bundle: str | PathLike[str] | Bundle | None,
    policy: str | PathLike[str] | Mapping[str, Any] | None,
    state: StateBlock,
) -> Snapshot:
    """Compiles a bundle and a policy, each a path, a loaded object, or None for the default; raises as `Engine.load`."""
