"""What experiments report: tables, plots and verdicts from their stages' results."""
