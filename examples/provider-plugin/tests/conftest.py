"""Laws fail in full words: pytest has to know of them before they are imported."""

import pytest

pytest.register_assert_rewrite("providers.testing")
