"""What an artefact was made from, which two may be compared, and where runs are kept; no torch."""
