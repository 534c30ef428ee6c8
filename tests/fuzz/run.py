"""`make fuzz`: each target in a process of its own, for an equal part of the time.

An input that breaks a promise is kept in tests/fuzz/found/: fix what it shows, then make it a seed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "support"))
# The longest input: more than the scanner looks at, at once.
MAX_BYTES = 80_000
SECONDS = 600


def fuzz(name: str) -> None:
    """Run one target under the fuzzer, which takes its options from the command line and ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["clew.injector", "clew.middleware", "clew.orders", "clew.referral"]
    ):
        from targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


def rounds(names: list[str], seconds: int) -> int:
    """Fuzz the targets one after the other; the number of those that broke a promise."""
    broken = 0
    found = HERE / "found"
    found.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory() as corpus:
            done = subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--inside",
                    name,
                    corpus,
                    str(HERE / "seeds" / name),
                    f"-max_total_time={seconds}",
                    f"-max_len={MAX_BYTES}",
                    f"-artifact_prefix={found}/{name}-",
                    "-timeout=30",
                    "-rss_limit_mb=2048",
                ],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        last = re.findall(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr, re.MULTILINE)
        runs, branches, _, kept = last[-1] if last else ("0", "0", "0", "0")
        state = "clean" if done.returncode == 0 else f"BROKEN ({done.returncode})"
        print(
            f"{name:10} {state}: {runs} inputs in {seconds} s, {branches} branches, {kept} kept", flush=True
        )
        if done.returncode != 0:
            broken += 1
            print((done.stdout + done.stderr)[-4000:])
    if not any(found.iterdir()):
        found.rmdir()
    return broken


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["--inside"]:
        name = sys.argv[2]
        del sys.argv[1:3]
        fuzz(name)
        return
    from targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for all targets together")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    sys.exit(1 if rounds(names, max(1, options.seconds // len(names))) else 0)


if __name__ == "__main__":
    main()
