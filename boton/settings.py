"""Settings: read once, from the environment (prefix `BOTON_`) and a `.env` file, by entry points only."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from boton.domain.pacing import ClosingTimes
from boton.domain.tokens import DEFAULT_BUDGET, SMALLEST_BUDGET
from boton.errors import Invalid

if TYPE_CHECKING:
    from boton.temporal import TemporalAddress

_LONGEST_CLOSURE = 30 * 86_400.0

_STORES = ("postgresql://", "postgres://", "postgresql+psycopg://", "sqlite:///")


class Settings(BaseSettings):
    """Every setting of every process; what is not set, or set to nothing, is the embedded default."""

    model_config = SettingsConfigDict(
        env_prefix="BOTON_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    data_dir: Path = Path("data")
    database_url: str | None = Field(None, description="postgresql://… ; None: SQLite in data_dir")

    temporal_address: str | None = Field(None, description="None: `boton up` starts its own Temporal")
    temporal_namespace: str = "default"
    temporal_api_key: SecretStr | None = None
    temporal_tls_ca: Path | None = None
    temporal_tls_cert: Path | None = None
    temporal_tls_key: Path | None = None
    temporal_ui_url: str | None = Field(None, description="where the UI of a Temporal elsewhere is; for links")

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    temporal_port: int = Field(7233, ge=0, le=65535)
    temporal_ui_port: int = Field(8233, ge=0, le=65535)
    simulator_port: int = Field(8900, ge=0, le=65535)
    metrics_port: int = Field(9400, ge=0, le=65535)

    simulator: bool = Field(False, description="the simulator exists as a gateway; `boton up` turns it on")

    connections_capacity: int = Field(100, ge=1, le=1000, description="phone numbers that one host holds at most")

    slow_lane_463_seconds: float = Field(86_400, gt=0, le=_LONGEST_CLOSURE, description="closed by a first 463")
    slow_lane_429_seconds: float = Field(900, gt=0, le=_LONGEST_CLOSURE, description="closed by a 429")

    llm_base_url: str | None = None
    llm_context_tokens: int = Field(
        DEFAULT_BUDGET, ge=SMALLEST_BUDGET, description="tokens that a prompt may hold: at most the model's window"
    )
    llm_api_key: SecretStr | None = Field(None, validation_alias=AliasChoices("BOTON_LLM_API_KEY", "OPENAI_API_KEY"))
    llm_model: str | None = None

    admin_password: SecretStr | None = None

    @field_validator("database_url")
    @classmethod
    def _known_store(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(_STORES):
            raise ValueError("must start with postgresql:// or sqlite:///")
        return url

    @field_validator("temporal_address")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        host, _, port = (address or "x:1").rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise ValueError("must be host:port, like 127.0.0.1:7233")
        return address

    @model_validator(mode="after")
    def _complete_pairs(self) -> Settings:
        if (self.temporal_tls_cert is None) is not (self.temporal_tls_key is None):
            raise ValueError("BOTON_TEMPORAL_TLS_CERT and BOTON_TEMPORAL_TLS_KEY belong together: set both")
        return self

    @property
    def store_url(self) -> str:
        """The SQLAlchemy-style address of the store."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'boton.db'}"

    @property
    def temporal_target(self) -> str:
        """host:port of Temporal, embedded or not."""
        return self.temporal_address or f"127.0.0.1:{self.temporal_port}"

    def temporal(self) -> TemporalAddress:
        """How to reach Temporal."""
        from boton.temporal import TemporalAddress

        return TemporalAddress(
            target=self.temporal_target,
            namespace=self.temporal_namespace,
            api_key=self.temporal_api_key.get_secret_value() if self.temporal_api_key else None,
            tls_ca=self.temporal_tls_ca,
            tls_cert=self.temporal_tls_cert,
            tls_key=self.temporal_tls_key,
        )

    def closing_times(self) -> ClosingTimes:
        """How long a refusal closes a number's slow lane."""
        return ClosingTimes(
            after_463=timedelta(seconds=self.slow_lane_463_seconds),
            after_429=timedelta(seconds=self.slow_lane_429_seconds),
        )

    @property
    def temporal_ui(self) -> str:
        """Where the Temporal UI is."""
        return (self.temporal_ui_url or f"http://127.0.0.1:{self.temporal_ui_port}").rstrip("/")

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"


def read_settings() -> Settings:
    """The settings of this process. Raises Invalid: one line that names the variable, without its value."""
    try:
        return Settings()
    except ValidationError as error:
        raise Invalid("; ".join(_line(problem["loc"], problem["msg"]) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The .env file cannot be read: {type(error).__name__}.") from None


def _line(loc: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    if not loc:
        return message
    name = str(loc[0])
    return f"{name if name.isupper() else 'BOTON_' + name.upper()} {message}"
