"""What people write: YAML or JSON in, plain values with places out; canonical form, digests, checking."""

from core.documents.lint import check, problems_of, suggest
from core.documents.load import Document, load

__all__ = ["Document", "check", "load", "problems_of", "suggest"]
