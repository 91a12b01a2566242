"""What all flows of this project share: their own base flow, which inherits flowproject's."""

import flowproject


class BaseFlow(flowproject.BaseFlow):
    """Add here what every flow should have: parameters, methods, decorators of the whole flow."""
