"""Settings: read once, from the environment (prefix `BOTON_`) and a `.env` file, by entry points only."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting of every process; what is not set is the embedded default."""

    model_config = SettingsConfigDict(
        env_prefix="BOTON_", env_file=".env", extra="ignore", hide_input_in_errors=True, populate_by_name=True
    )

    data_dir: Path = Path("data")
    database_url: str | None = Field(None, description="postgresql://… ; None: SQLite in data_dir")

    temporal_address: str | None = Field(None, description="None: `boton up` starts its own Temporal")
    temporal_namespace: str = "default"
    temporal_api_key: SecretStr | None = None
    temporal_tls_ca: Path | None = None
    temporal_tls_cert: Path | None = None
    temporal_tls_key: Path | None = None

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    temporal_port: int = Field(7233, ge=0, le=65535)
    temporal_ui_port: int = Field(8233, ge=0, le=65535)
    simulator_port: int = Field(8900, ge=0, le=65535)
    metrics_port: int = Field(9400, ge=0, le=65535)

    simulator: bool = Field(False, description="the simulator exists as a gateway; `boton up` turns it on")

    llm_base_url: str | None = None
    llm_api_key: SecretStr | None = Field(None, validation_alias=AliasChoices("BOTON_LLM_API_KEY", "OPENAI_API_KEY"))
    llm_model: str | None = None

    admin_password: SecretStr | None = None

    @property
    def store_url(self) -> str:
        """The SQLAlchemy-style address of the store."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'boton.db'}"

    @property
    def temporal_target(self) -> str:
        """host:port of Temporal, embedded or not."""
        return self.temporal_address or f"127.0.0.1:{self.temporal_port}"

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"
