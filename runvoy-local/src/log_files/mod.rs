//! Reads the agent's log segments.
