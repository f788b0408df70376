"""The page of parts from the workspace shows what is in the template, which other tests run."""

import re
import textwrap
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workspace-parts.md").read_text()
TEMPLATE = ROOT / "workspace_templates" / "numpy_parts"


def test_every_example_is_in_the_template() -> None:
    sources = "\n".join(path.read_text() for path in sorted((TEMPLATE / "src").glob("*.py")))
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 6
    assert [example for example in examples if textwrap.indent(example, "    ") not in sources] == []


def test_the_keys_are_those_of_its_plan() -> None:
    shown, _ = (yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    plan = yaml.safe_load((TEMPLATE / "plan.yaml").read_text())
    assert {key: plan[key] for key in shown} == shown
