"""The commands of the first steps in the README and docs/getting-started.md, run unchanged."""

import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from processes import free_port
from small_shops import SmallShop, html

ROOT = Path(__file__).parents[2]
# What makes the virtual environment, which the test makes itself: tests/test_install.py has the installation.
MADE = ("python3 -m venv ~/clew", "~/clew/bin/pip install .")


def commands(page: str, heading: str) -> list[str]:
    section = (ROOT / page).read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^ *\$ (.*)$", section, re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with `~/clew` as after the installation."""
    venv.create(tmp_path / "clew", with_pip=False)
    (site_packages,) = (tmp_path / "clew/lib").glob("python*/site-packages")
    (site_packages / "clew.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    command = tmp_path / "clew/bin/clew"
    command.write_text(f"#!{tmp_path}/clew/bin/python\nfrom clew.cli import app\napp()\n")
    command.chmod(0o755)
    return tmp_path


def run(lines: list[str], home: Path) -> str:
    script = "\n".join(["set -eu", *lines])
    environ = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=home, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_every_line_of_the_first_steps_can_be_run(home: Path) -> None:
    lines = commands("docs/getting-started.md", "Shop owners")
    assert tuple(lines[:2]) == MADE
    with SmallShop({"/": html("Hello")}) as shop:
        run([line.replace("https://shop.example", shop.address) for line in lines[2:]], home)
    assert (home / "clew.toml").is_file()


@pytest.mark.timeout(300)
def test_every_line_of_the_installation_can_be_run(home: Path) -> None:
    lines = commands("README.md", "Install")
    assert tuple(lines[:2]) == MADE
    assert run(lines[2:], home).startswith("clew ")


@pytest.mark.timeout(300)
def test_the_settings_of_the_readme_run_in_front_of_a_shop(home: Path) -> None:
    lines = commands("README.md", "In front of your shop")
    *before, serve = lines
    assert serve == "clew serve --config clew.toml --port 8080"
    text = (ROOT / "README.md").read_text("utf-8")
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    port = free_port()
    # What the first page of a visitor is, as soon as the server answers.
    page = f"curl -s -H 'Host: shop.example' http://127.0.0.1:{port}/?ref=c1"
    until = f"until {page} | grep data-clew; do kill -0 $! && sleep 0.1; done; kill $!; wait $!"
    with SmallShop({"/": html("Hello")}) as shop:
        (home / "clew.toml").write_text(settings.replace("http://127.0.0.1:8000", shop.address), "utf-8")
        path = f"PATH={home}/clew/bin:$PATH"
        shown = run([path, *before, f"{serve.replace('8080', str(port))} &", until], home)
    assert 'src="/-/clew/l.js"' in shown
