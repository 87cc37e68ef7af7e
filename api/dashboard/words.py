"""What the pages call things, in the operator's language."""

from __future__ import annotations

from collections.abc import Mapping

from boton.domain.chats import Holder
from boton.domain.connections import ConnectionStatus
from boton.domain.conversations import ConversationOutcome, ConversationStatus

CONNECTIONS: Mapping[str, str] = {
    ConnectionStatus.LINKING: "Vinculando",
    ConnectionStatus.CONNECTING: "Conectando",
    ConnectionStatus.CONNECTED: "Conectado",
    ConnectionStatus.DISCONNECTED: "Desconectado",
    ConnectionStatus.LOGGED_OUT: "Sesión cerrada",
    ConnectionStatus.REPLACED: "Reemplazado por otra sesión",
    ConnectionStatus.BANNED: "Bloqueado por WhatsApp",
    ConnectionStatus.OUTDATED: "Versión desactualizada",
    ConnectionStatus.STOPPED: "Detenido",
}
HOLDERS: Mapping[str, str] = {
    Holder.BOT: "Lo atiende el bot",
    Holder.HUMAN: "Lo atiende una persona",
    Holder.NONE: "Nadie lo atiende",
}
CONVERSATIONS: Mapping[str, str] = {
    ConversationStatus.OPENING: "Por empezar",
    ConversationStatus.WAITING: "Espera al cliente",
    ConversationStatus.THINKING: "Pensando",
    ConversationStatus.REPLYING: "Respondiendo",
    ConversationStatus.HANDED_OFF: "Derivada a una persona",
    ConversationStatus.DONE: "Terminada",
    ConversationStatus.EXPIRED: "Vencida",
    ConversationStatus.CANCELLED: "Cancelada",
}
OUTCOMES: Mapping[str, str] = {
    ConversationOutcome.ACHIEVED: "Objetivo logrado",
    ConversationOutcome.DECLINED: "No aceptó",
    ConversationOutcome.NO_ANSWER: "Sin respuesta",
    ConversationOutcome.HANDED_OFF: "Quedó a cargo de una persona",
    ConversationOutcome.ERROR: "Falló",
}
