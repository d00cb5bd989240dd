"""Label selectors, as the Kubernetes API has them: which objects does one mean?"""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
Labels = Mapping[str, str]


def matches(selector: Json, labels: Labels) -> bool:
    """Tell whether labels fulfil all that selector asks; an empty one asks nothing."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Json, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values  # a label that is not there is in no list
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case operator:
            raise ValueError(f"a label selector has the operator {operator}")
