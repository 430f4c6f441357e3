"""What the profile says about being on time, restrictions, feedback and disputes."""

from proto.process import Section


class SupervisionPolicy(Section):
    """Articles 20, 23, 25, 28, 36."""

    late_cycles_before_warning: int
