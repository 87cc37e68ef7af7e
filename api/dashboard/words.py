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
NEXT_STEPS: Mapping[str, str] = {
    ConnectionStatus.LINKING: "Se está vinculando; por ahora no hay nada que hacer en el teléfono.",
    ConnectionStatus.CONNECTING: "Se está conectando; tarda unos segundos.",
    ConnectionStatus.CONNECTED: "Envía y recibe mensajes.",
    ConnectionStatus.DISCONNECTED: "Vuelve solo en cuanto se pueda; lo que hay para enviar espera.",
    ConnectionStatus.LOGGED_OUT: "El teléfono ya no tiene vinculado este dispositivo: hay que vincularlo de nuevo.",
    ConnectionStatus.REPLACED: (
        "Otro proceso usa este mismo dispositivo, por ejemplo un servidor viejo o una copia: hay que detenerlo, y "
        "después vincular de nuevo."
    ),
    ConnectionStatus.BANNED: (
        "WhatsApp bloqueó el número: hay que mirar qué pide WhatsApp en el teléfono y, cuando termine el bloqueo, "
        "vincular de nuevo."
    ),
    ConnectionStatus.OUTDATED: (
        "WhatsApp ya no acepta esta versión: hay que instalar una más nueva de BOTON, y después vincular de nuevo."
    ),
    ConnectionStatus.STOPPED: "No está vinculado: hay que intentarlo de nuevo.",
}
"""What goes on, or what is to be done. The reason that the API gives is more exact, and in English."""

PHONE_EXPECTED = "Hace falta un teléfono con el código del país, por ejemplo +54 9 11 3862-0812."
OTHER_FORM = "Ese formulario no es de esta página: hay que cargarla de nuevo."
PHONE_TAKEN = "Ese teléfono es el de otra conexión activa: primero hay que quitarlo de ahí."
NO_NUMBER = "Este negocio no tiene un número: hay que vincular uno antes de retomar."

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
