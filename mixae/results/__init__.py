"""Run records, and the tables and page that are built from them."""

from mixae.errors import RecordError
from mixae.files import file_sha256
from mixae.results.environment import collect_environment, portable
from mixae.results.record import (
    RunRecord,
    config_sha256,
    describe_config,
    metric,
    new_record,
    read_record,
    read_records,
    write_record,
)

__all__ = [
    'RecordError',
    'RunRecord',
    'collect_environment',
    'config_sha256',
    'describe_config',
    'file_sha256',
    'metric',
    'new_record',
    'portable',
    'read_record',
    'read_records',
    'write_record',
]
