"""`telemetry` and `console_auth`: accepted and checked, without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from townlet_runtime.config.schema.base import List, OpenSection


class NarrationThrottle(OpenSection):
    """`telemetry.narration`."""

    global_cooldown_ticks: int = Field(30, ge=0, le=10000)
    category_cooldown_ticks: Mapping[str, int] = {}
    dedupe_window_ticks: int = Field(20, ge=0, le=10000)
    global_window_ticks: int = Field(600, ge=1, le=10000)
    global_window_limit: int = Field(10, ge=1, le=1000)
    priority_categories: List[str] = ()


class TelemetryRetry(OpenSection):
    """`telemetry.transport.retry`."""

    max_attempts: int = Field(3, ge=0, le=10)
    backoff_seconds: float = Field(0.5, ge=0.0, le=30.0)


class TelemetryBuffer(OpenSection):
    """`telemetry.transport.buffer`."""

    max_batch_size: int = Field(32, ge=1, le=500)
    max_buffer_bytes: int = Field(256000, ge=1024, le=16777216)
    flush_interval_ticks: int = Field(1, ge=1, le=10000)


class TelemetryTransport(OpenSection):
    """`telemetry.transport`."""

    type: Literal["stdout", "file", "tcp"] = "stdout"
    endpoint: str | None = None
    file_path: str | None = None
    connect_timeout_seconds: float = Field(5.0, ge=0.0, le=60.0)
    send_timeout_seconds: float = Field(1.0, ge=0.0, le=60.0)
    enable_tls: bool = True
    verify_hostname: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    allow_plaintext: bool = False
    dev_allow_plaintext: bool = False
    retry: TelemetryRetry = TelemetryRetry()
    buffer: TelemetryBuffer = TelemetryBuffer()
    worker_poll_seconds: float = Field(0.5, ge=0.01, le=10.0)


class RelationshipNarration(OpenSection):
    """`telemetry.relationship_narration`."""

    friendship_trust_threshold: float = Field(0.6, ge=-1.0, le=1.0)
    friendship_delta_threshold: float = Field(0.25, ge=0.0, le=2.0)
    friendship_priority_threshold: float = Field(0.85, ge=-1.0, le=1.0)
    rivalry_avoid_threshold: float = Field(0.7, ge=0.0, le=1.0)
    rivalry_escalation_threshold: float = Field(0.9, ge=0.0, le=1.0)


class PersonalityNarration(OpenSection):
    """`telemetry.personality_narration`."""

    enabled: bool = True
    chat_extroversion_threshold: float = Field(0.5, ge=-1.0, le=1.0)
    chat_priority_threshold: float = Field(0.75, ge=-1.0, le=1.0)
    chat_quality_threshold: float = Field(0.3, ge=0.0, le=1.0)
    conflict_tolerance_threshold: float = Field(0.95, ge=0.0, le=5.0)


class Telemetry(OpenSection):
    """`telemetry`."""

    narration: NarrationThrottle = NarrationThrottle()
    transport: TelemetryTransport = TelemetryTransport()
    relationship_narration: RelationshipNarration = RelationshipNarration()
    personality_narration: PersonalityNarration = PersonalityNarration()
    diff_enabled: bool = True


class ConsoleToken(OpenSection):
    """One entry of `console_auth.tokens`."""

    label: str | None = None
    role: Literal["viewer", "admin"] = "viewer"
    token: str | None = None
    token_env: str | None = None


class ConsoleAuth(OpenSection):
    """`console_auth`."""

    enabled: bool = False
    require_auth_for_viewer: bool = True
    tokens: List[ConsoleToken] = ()
