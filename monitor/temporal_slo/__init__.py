"""SLO monitoring for Temporal: an exporter of visibility and the reference application that it watches."""
