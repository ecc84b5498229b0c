"""What the suite `openapi` asks of the API beside schemathesis' own checks.

A request that is right by the document is never refused as malformed. It may be refused for what the document cannot say: an object
that does not exist, a field that does not go with another, a name that is taken, a quota.
"""

import re

import schemathesis
from schemathesis import GenerationMode

MALFORMED = {"invalid", "bad_query", "bad_header", "broken_json", "unsupported_media_type", "body_too_large", "malformed"}


def breaks_a_pattern(case):
    """Whether a header breaks the pattern that the document gives it: schemathesis makes up such ones as if they were right."""
    for parameter in case.operation.definition.raw.get("parameters", []):
        pattern = parameter.get("schema", {}).get("pattern")
        value = (case.headers or {}).get(parameter.get("name"))
        if parameter.get("in") == "header" and pattern and value is not None and not re.search(pattern, value):
            return True
    return False


@schemathesis.check
def not_refused_as_malformed(ctx, response, case):
    mode = case.meta.generation.mode if case.meta else None
    if mode != GenerationMode.POSITIVE or response.status_code not in (400, 413, 415, 422):
        return
    if breaks_a_pattern(case):
        return
    problem = response.json()
    if problem.get("code") in MALFORMED:
        raise AssertionError(f"a request that is right by the document was refused: {problem}")
