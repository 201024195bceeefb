"""The doctor measures this machine, and estimates the time and memory of a run before it is started."""

from tf_simclrv2.doctor.checkup import Checkup, examine
from tf_simclrv2.doctor.machine import Machine, look_at_machine
from tf_simclrv2.doctor.memory_estimate import live_peak
from tf_simclrv2.doctor.printout import printout

__all__ = ["Checkup", "Machine", "examine", "live_peak", "look_at_machine", "printout"]
