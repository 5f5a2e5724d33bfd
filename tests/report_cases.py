"""Sources of pages, as JSON has them, with names that would do harm were they not escaped."""

from html.parser import HTMLParser
from typing import Any

HOSTILE = '"><script>document.title = "taken"</script><img src=x onerror="document.title = 1">'
VOID = {"br", "hr", "img", "input", "link", "meta"}


def layer(name: str, sparsity: float | None, csr: float, /, **others: Any) -> dict[str, Any]:
    """Return a layer of 64 x 128 that takes 1 ms dense, as a report has it."""
    choice = "csr" if csr < 1e-3 else "dense"
    return {
        "name": name,
        "shape": [64, 128],
        "sparsity": sparsity,
        "is_24": False,
        "rows": [32],
        "seconds": {"dense": 1e-3, "csr": csr},
        "nbytes": {"dense": 32768, "csr": 8000},
        "error": 1e-7 if choice == "csr" else None,
        "choice": choice,
        "why": f"{choice} is the fastest",
        "values": None,
        **others,
    }


def conversion() -> dict[str, Any]:
    """Return a report of four layers; one name is hostile, one sparsity is not known."""
    return {
        "layers": [
            layer("fc2", 0.5, 2e-3),
            layer(HOSTILE, 0.99, 1e-4),
            layer("fc10", None, 1e-3, seconds={}),
            layer("fc9", 0.9, 5e-4),
        ],
        "seconds_before": 4e-3,
        "seconds_after": 1e-3,
        "seconds_fused": None,
        "bytes_before": 131072,
        "bytes_after": 81536,
        "max_error": 2e-7,
        "already_sparse": [],
        "fused": "",
        "channels_last": False,
        "values": None,
    }


def latency() -> dict[str, Any]:
    """Return a table of two layers of 1000 weights: the first breaks even at 30 % kept."""
    csr = [[100, 1e-3], [500, 5e-3]]
    return {
        "layers": [
            {"name": HOSTILE, "size": 1000, "dense": 3e-3, "csr": csr},
            {"name": "fc9", "size": 1000, "dense": 9e-3, "csr": csr},
        ],
        "skipped": {},
    }


ACCURACY = [["LAMP", 0.5, 0.9], ["LAMP", 0.9, 0.8], [HOSTILE, 0.5, 0.7], [HOSTILE, 0.5, 0.8]]


class Outline(HTMLParser):
    """Reads a page: elements with their attributes, texts by tag, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element of a tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        """Return the texts right in elements of a tag."""
        return [text for name, text in self.texts if name == tag]


def finding(name: str, sparsity: float, code: str, limit: float | None) -> dict[str, Any]:
    """Return a layer of a diagnosis: 64 x 64, of which CSR would take 1000 bytes."""
    seconds = {"dense": 2e-3, "csr": 1e-3}
    times = {"rows": 8, "seconds": seconds, "measured": False, "breakeven_density": limit}
    return {
        "name": name,
        "shape": [64, 64],
        "dtype": "float32",
        "device": "cpu",
        "stored": "dense",
        "sparsity": sparsity,
        "nonzeros": round(4096 * (1 - sparsity)),
        "share_24": {},
        "nbytes": {"stored": 16384, "dense": 16384, "csr": 1000, "sparse24": None},
        "masked": None,
        "use": None,
        "times": [times | {"rows": 1, "measured": True}, times] if limit is not None else [],
        "backends": [],
        "verdict": {"code": code, "sentence": f"it is {code}", "advice": "prune it"},
        "further": [{"code": "unknown", "sentence": "who knows", "advice": ""}],
    }


def diagnosis() -> dict[str, Any]:
    """Return a diagnosis of three layers; one name is hostile."""
    return {
        "schema": 1,
        "subject": "Net",
        "kind": "model",
        "summary": {
            "verdict": {"code": "zeros-stored-dense", "sentence": "two of three", "advice": ""},
            "weights": 12288,
            "zeros": 6144,
            "nbytes": 49152,
            "least_nbytes": 18384,
            "macs": None,
            "basis": "seconds",
            "shares": {"zeros-stored-dense": 0.75, "no-zeros": 0.25},
            "could_gain": 0.75,
            "bound": 4.0,
            "expected": None,
        },
        "layers": [
            finding("fc1.weight", 0.9, "zeros-stored-dense", 0.4),
            finding(HOSTILE, 0.5, "zeros-stored-dense", 0.4),
            finding("fc3.weight", 0.0, "no-zeros", None),
        ],
        "notes": ["one thing is not known"],
        "machine": {},
    }
