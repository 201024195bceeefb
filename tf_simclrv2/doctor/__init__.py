"""The doctor: what this machine can do, and what a configuration asks of it, before hours are spent."""

from tf_simclrv2.doctor.checkup import Checkup, examine
from tf_simclrv2.doctor.machine import Machine, look_at_machine
from tf_simclrv2.doctor.memory_estimate import live_peak
from tf_simclrv2.doctor.printout import printout

__all__ = ["Checkup", "Machine", "examine", "live_peak", "look_at_machine", "printout"]
