"""Figures that others published for the benchmarks, with their source."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One method's figures on a benchmark."""

    method: str
    scores: dict[str, float]
    source: str


DUET = "Qiu et al. 2025, DUET (KDD; arXiv 2412.10859)"
SEGRNN = "Lin et al. 2023, SegRNN (arXiv 2308.11200), drop_last mended"
M4 = "Makridakis et al. 2020, The M4 Competition (IJF 36)"
NBEATS = "Oreshkin et al. 2020, N-BEATS (ICLR; arXiv 1905.10437)"
M3 = "Makridakis & Hibon 2000, The M3-Competition (IJF 16)"
TOURISM = "Athanasopoulos et al. 2011, The tourism forecasting competition (IJF 27)"

PUBLISHED: dict[str, list[Published]] = {
    "etth1": [
        Published("DUET", {"MSE": 0.352, "MAE": 0.384}, DUET),
        Published("SegRNN", {"MSE": 0.351, "MAE": 0.392}, SEGRNN),
    ],
    "etth2": [
        Published("DUET", {"MSE": 0.270, "MAE": 0.336}, DUET),
        Published("SegRNN", {"MSE": 0.276, "MAE": 0.335}, SEGRNN),
    ],
    "m4-hourly": [
        Published("ES-RNN (winner)", {"OWA": 0.440}, M4),
        Published("FFORMA (second)", {"OWA": 0.484}, M4),
        Published("best of all entries", {"OWA": 0.410}, M4),
    ],
    "m3-monthly": [
        Published("Theta", {"sMAPE": 13.85}, M3),
        Published("N-BEATS", {"sMAPE": 13.11}, NBEATS),
    ],
    "tourism-monthly": [
        Published("ETS", {"MAPE": 21.1}, TOURISM),
        Published("N-BEATS", {"MAPE": 19.29}, NBEATS),
    ],
    "tourism-quarterly": [
        Published("ForecastPro", {"MAPE": 15.7}, TOURISM),
        Published("N-BEATS", {"MAPE": 14.78}, NBEATS),
    ],
}
