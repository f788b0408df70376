import pytest

from openfl_like.errors import RequirementsError
from openfl_like.plan.lock import MAX_BYTES, read_lock, write_lock

A, B = "a" * 64, "b" * 64
GOOD = f"--hash=sha256:{A}"


def test_a_lock_is_read_in_its_canonical_form() -> None:
    text = """\
# made by hand
Zope.Interface == 1  # no: spaces
"""
    with pytest.raises(RequirementsError, match=r"Zope\.Interface == 1"):
        read_lock(text.encode())
    text = f"""\
# a comment
zope.interface==6.0 \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}

Tiny_Thing[fast, small]==1.0+cpu ; python_version  >= "3.8" {GOOD}
"""
    assert read_lock(text.encode()) == (
        f'tiny-thing[fast,small]==1.0+cpu ; python_version >= "3.8" --hash=sha256:{A}',
        f"zope-interface==6.0 --hash=sha256:{A} --hash=sha256:{B}",
    )


def test_an_empty_lock_asks_for_nothing() -> None:
    assert read_lock(b"\n# nothing\n") == ()


@pytest.mark.parametrize(
    "line",
    [
        "tiny==1.0",
        f"tiny>=1.0 {GOOD}",
        f"tiny {GOOD}",
        f"tiny==1.* {GOOD}",
        f"tiny===1.0 {GOOD}",
        "tiny==1.0 --hash=md5:0123",
        f"tiny==1.0 {GOOD} --hash=sha256:12",
        f"--index-url https://evil.example tiny==1.0 {GOOD}",
        f"tiny==1.0 {GOOD} --global-option=x",
        f"tiny==1.0 --config-settings=x {GOOD}",
        f"tiny @ https://evil.example/tiny-1.0-py3-none-any.whl {GOOD}",
        f"https://evil.example/tiny-1.0-py3-none-any.whl {GOOD}",
        f"./tiny-1.0-py3-none-any.whl {GOOD}",
        f"file:///etc/passwd {GOOD}",
        "-r /etc/passwd",
        "-e .",
        "--extra-index-url https://evil.example",
        "--find-links https://evil.example",
        "--no-binary :all:",
        "--trusted-host evil.example",
        f"tiny==1.0 ; os_name == 'x' --index-url x {GOOD}",
        f"${{HOME}}==1.0 {GOOD}",
    ],
)
def test_anything_else_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(RequirementsError) as caught:
        read_lock(f"good==1 {GOOD}\n{line}\n".encode())
    assert caught.value.place == "requirements.lock:2"


def test_a_package_has_one_version() -> None:
    with pytest.raises(RequirementsError, match="twice"):
        read_lock(f"tiny-thing==1 {GOOD}\ntiny_thing==2 {GOOD}\n".encode())


def test_a_lock_is_plain_and_small() -> None:
    with pytest.raises(RequirementsError, match="ASCII"):
        read_lock(f"tïny==1 {GOOD}".encode())
    with pytest.raises(RequirementsError, match="larger"):
        read_lock(b"#" * (MAX_BYTES + 1))


def test_what_is_written_can_be_read() -> None:
    wheels = [{"name": "Zoo", "version": "2", "sha256": B}, {"name": "ant", "version": "1.0rc1", "sha256": A}]
    text = write_lock(wheels)
    assert text == f"ant==1.0rc1 --hash=sha256:{A}\nzoo==2 --hash=sha256:{B}\n"
    assert "\n".join(read_lock(text.encode())) + "\n" == text
