"""The schedules of signal and noise on each path, and one that the user shapes."""

from flowviz.ui import schedules
from flowviz.ui.opening import headed

headed(
    "Schedules: signal and noise over time",
    see="How much data (α) and how much noise (σ) a particle contains at each time.",
    notice="Data and noise are equal ([log-SNR](log-snr) 0) at t = 0.50 on OT and at t = "
    "0.74 on VP: VP is late.",
)
schedules.show()
