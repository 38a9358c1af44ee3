"""The agent: it follows the targets of a device, measures what is new and sends its reports."""
