"""clew: credits the order made in the chat to the partner's click."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .middleware.asgi.mount import ClewMiddleware

__version__ = "0.1.0"
__all__ = ["ClewMiddleware", "__version__"]


def __getattr__(name: str) -> Any:
    # On demand, so that importing one package does not load all of them.
    if name == "ClewMiddleware":
        from .middleware.asgi.mount import ClewMiddleware

        return ClewMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
