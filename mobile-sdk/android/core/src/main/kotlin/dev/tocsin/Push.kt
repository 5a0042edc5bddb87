// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser

/**
 * What a push says: the data of a message of Firebase. Texts are those in the clear; see [SealedText] for the
 * others. Times are Unix milliseconds by the server's clock. What is not there is empty, 0 or null.
 */
public class Push private constructor(
    public val kind: Kind,
    public val deliveryId: String,
    public val incidentId: String,
    public val number: Long,
    public val revision: Long,
    public val severity: String,
    public val title: String,
    public val subtitle: String,
    public val body: String,
    /** After it a page has no value, and is shown quietly as missed; 0: it has none. */
    public val expires: Long,
    /** Whether a receipt is wanted. */
    public val wantsReceipt: Boolean,
    internal val receiptKey: String,
    internal val actionToken: String,
    internal val sealed: String,
    internal val sealedKey: String,
    /** `observe`, `practise` or `duty`: the person follows whoever is paged. */
    public val shadow: String,
    /** Something did not fit: read the incident when it is opened. */
    public val fetch: Boolean,
    /** Extra fields. */
    public val extra: Map<String, String>,
    /** The name of the channel: `page_critical`, `page_normal`, `info`. */
    public val channel: String,
    /** Two cards of one tag are one card. */
    public val tag: String,
    /** Cards of one thread belong together. */
    public val thread: String,
    /** How many incidents want the person: the number on the app's icon. */
    public val badge: Int,
    /** Whether it is to be heard. */
    public val audible: Boolean,
    /** Whether it is to be heard through silence. */
    public val critical: Boolean,
    /** Whether it rings until somebody sees to it. */
    public val insistent: Boolean,
    /** Whether the card has a button to acknowledge, on the locked phone too. */
    public val offersAcknowledge: Boolean,
    /** Whether the card has a button by which the person says that this test was heard: to acknowledge it says so. */
    public val offersHeard: Boolean,
) {
    /** What kind of push. */
    public enum class Kind {
        /** Somebody is needed. */
        PAGE,

        /** It is over: takes the place of the card, without a sound. */
        CLEAR,

        /** Something to know, without a sound. */
        INFO,

        /** As a page, and says TEST. */
        TEST,

        /** Shows nothing; wants a receipt. */
        HEARTBEAT,

        /** Of a later version of the server: shown as [INFO] when it has a text. */
        UNKNOWN,
    }

    /** The nonce that proves that the phone holds its address; null in other pushes. */
    public val nonce: String? get() = extra["nonce"]

    /** The id of a device that was taken out and is to forget everything; null in other pushes. */
    public val wipe: String? get() = extra["wipe"]

    /** Whether the server asks for a new key to seal for. */
    internal val asksForSealKey: Boolean get() = extra["ask"] == "seal_key"

    /** Without texts and secrets, for a log. */
    override fun toString(): String = "Push(kind=$kind, delivery=$deliveryId, incident=$incidentId, revision=$revision)"

    public companion object {
        /** Reads the [data] of a message; null when it is none of tocsin's. Keys that it does not know are left. */
        @JvmStatic
        public fun read(data: Map<String, String>): Push? {
            val delivery = data["d"].orEmpty()
            val kind = data["k"].orEmpty()
            if (delivery.isEmpty() || kind.isEmpty() || data["v"] == null) return null
            val known = Kind.entries.firstOrNull { it.name.equals(kind, ignoreCase = true) } ?: Kind.UNKNOWN
            val sound = data["sound"].orEmpty()
            val shadow = data["sh"].orEmpty()
            return Push(
                kind = known,
                deliveryId = delivery,
                incidentId = data["i"].orEmpty(),
                number = data.long("n"),
                revision = data.long("r"),
                severity = data["s"].orEmpty(),
                title = data["title"].orEmpty(),
                subtitle = data["subtitle"].orEmpty(),
                body = data["body"].orEmpty(),
                expires = data.long("x") * 1_000,
                wantsReceipt = !data["u"].isNullOrEmpty(),
                receiptKey = data["uk"].orEmpty(),
                actionToken = data["a"].orEmpty(),
                sealed = data["e"].orEmpty(),
                sealedKey = data["ek"].orEmpty(),
                shadow = shadow,
                fetch = data["fetch"] == "1",
                extra = texts(data["m"]),
                channel = data["channel"].orEmpty(),
                tag = data["tag"].orEmpty().ifEmpty { delivery },
                thread = data["thread"].orEmpty(),
                badge = data.long("badge").toInt(),
                audible = sound == "normal" || sound == "critical",
                critical = sound == "critical",
                insistent = data["insistent"] == "1",
                offersAcknowledge = known == Kind.PAGE && data["ack"] == "1" && shadow != "observe",
                offersHeard = known == Kind.TEST && data["ack"] == "1",
            )
        }

        // A number that cannot be read is one that is not there: a page is shown whatever it lacks.
        private fun Map<String, String>.long(key: String): Long = this[key]?.toLongOrNull() ?: 0
    }
}

/** The texts of a JSON object, [json] being that object or nothing. Whatever is no text is left out. */
internal fun texts(json: String?): Map<String, String> {
    if (json.isNullOrEmpty()) return emptyMap()
    return parseObject(json)?.texts().orEmpty()
}

internal fun JsonObject.texts(): Map<String, String> =
    entrySet().filter { it.value.isJsonPrimitive }.associate { it.key to it.value.asString }

internal fun parseObject(json: String): JsonObject? =
    try {
        JsonParser.parseString(json).takeIf { it.isJsonObject }?.asJsonObject
    } catch (_: JsonParseException) {
        null
    } catch (_: StackOverflowError) {
        null // a few thousand brackets, from whoever may push
    }
