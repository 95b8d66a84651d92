"""The requests and responses of docs/api.md, in a TypeScript client."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from django.core.management import call_command

from marketing_platform.tests.test_api_walkthrough import COMMAND, TEXT

TOOLS = ("openapi-typescript@7", "typescript@5")
IDS = re.compile(r"/\$\w+")
PROVIDER = re.compile(r"/providers/\w+")
READS = """
type Report = paths["/api/routingconfig/stats/overall"]["get"]["responses"][200];
declare const report: Report["content"]["application/json"];
export const rate: number | null = report.totals.deliveryRate;
export const average: string | null = report.totals.costs[0].averagePerAttempt;
// @ts-expect-error: a rate of nothing is null
export const wrong: number = report.totals.successRate;

type Page = paths["/api/messages"]["get"]["responses"][200];
declare const page: Page["content"]["application/json"];
export const next: string | null = page.next;
export const sentAt: string | null = page.results[0].sentAt;
export const dueAt: string = page.results[0].dueAt;
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder with the generator and the compiler, from the npm registry."""
    directory = tmp_path_factory.mktemp("typescript")
    if not shutil.which("npm"):
        pytest.skip("npm is not on PATH")
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")
    try:
        installed = subprocess.run(
            ["npm", "install", *options, "--prefix", directory, *TOOLS],
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if installed.returncode:
        pytest.skip(f"npm cannot install {TOOLS}: {installed.stderr[-300:]}")
    return directory


def requests_of_the_document():
    """(method, path in the schema, JSON) of each that has a body and is accepted."""
    for command, status in COMMAND.findall(TEXT):
        words = shlex.split(command.replace("\\\n", " "))
        if "-d" in words and not status.startswith("4"):
            path = words[3].removeprefix("$API")
            body = words[words.index("-d") + 1]
            path = PROVIDER.sub("/providers/{name}", IDS.sub("/{id}", path))
            yield words[2].lower(), f"/api{path}", body


def test_every_request_of_the_document_compiles_and_answers_may_be_null(tools):
    schema = tools / "schema.json"
    call_command("spectacular", "--format=openapi-json", f"--file={schema}")
    lines = ['import type { paths } from "./schema";', READS]
    for number, (method, path, body) in enumerate(requests_of_the_document()):
        kind = f'paths["{path}"]["{method}"]["requestBody"]'
        lines.append(
            f'export const body{number}: NonNullable<{kind}>["content"]'
            f'["application/json"] = {body};'
        )
    (tools / "example.ts").write_text("\n".join(lines))

    run(tools, "openapi-typescript", schema, "--output", tools / "schema.d.ts")
    run(tools, "tsc", "--strict", "--noEmit", tools / "example.ts")

    assert len(lines) > 6


def run(directory, tool, *arguments):
    done = subprocess.run(
        [directory / "node_modules/.bin" / tool, *arguments],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
