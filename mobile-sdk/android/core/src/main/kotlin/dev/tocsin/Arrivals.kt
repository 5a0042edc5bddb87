// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.kept.Arrived

/** What a phone does with a push that has reached it. */
public enum class Arrival {
    /** Show it, with its sound. */
    RING,

    /** Show it without a sound, in the place of the card that has its tag. */
    REPLACE,

    /** It was there before: report the receipt again, show nothing. */
    DUPLICATE,

    /** The phone knows something newer of the incident: show nothing. */
    STALE,

    /** It came after its deadline: show it without a sound, as missed. */
    MISSED,

    /** There is nothing to show. */
    NOTHING,
}

/** What has reached the phone, and what to do with what comes next. */
internal class Arrivals(storage: Storage) {
    private val kept = Kept(storage, "arrived", Arrived.getDefaultInstance(), Arrived.parser())

    /** What to do with [push] at [now], by the server's clock. Changes nothing. */
    fun judge(push: Push, now: Long): Arrival = judge(kept.get(), push, now)

    /**
     * Remembers that [push] was dealt with: after it was shown, so that one whose process was killed before
     * that is shown when it comes again.
     */
    fun remember(push: Push, now: Long) {
        kept.change { remember(it, push, now) }
    }

    fun clear() = kept.clear()

    companion object {
        /** Longer than a page lives, or a push service keeps one. */
        private const val REMEMBERED = 7 * 24 * 3_600_000L
        private const val AT_MOST = 500

        fun judge(arrived: Arrived, push: Push, now: Long): Arrival {
            val newest = arrived.incidentsList.firstOrNull { it.id == push.incidentId }?.revision ?: 0
            return when {
                arrived.deliveriesList.any { it.id == push.deliveryId } -> Arrival.DUPLICATE
                push.incidentId.isNotEmpty() && push.revision < newest -> Arrival.STALE
                push.kind == Push.Kind.HEARTBEAT -> Arrival.NOTHING
                push.kind == Push.Kind.UNKNOWN && push.title.isEmpty() && push.body.isEmpty() -> Arrival.NOTHING
                push.kind != Push.Kind.PAGE && push.kind != Push.Kind.TEST -> Arrival.REPLACE
                push.expires != 0L && now > push.expires -> Arrival.MISSED
                else -> Arrival.RING
            }
        }

        fun remember(arrived: Arrived, push: Push, now: Long): Arrived {
            val next = Arrived.newBuilder()
            val delivery = Arrived.Delivery.newBuilder().setId(push.deliveryId).setAtMs(now).build()
            next.addAllDeliveries(
                (arrived.deliveriesList.filter { it.id != push.deliveryId && it.atMs > now - REMEMBERED } + delivery).takeLast(AT_MOST),
            )
            val before = arrived.incidentsList.firstOrNull { it.id == push.incidentId }
            val others = arrived.incidentsList.filter { it.id != push.incidentId && it.atMs > now - REMEMBERED }
            val known = if (push.incidentId.isEmpty()) {
                emptyList()
            } else {
                listOf(
                    Arrived.Incident.newBuilder().setId(push.incidentId).setAtMs(now)
                        .setRevision(maxOf(before?.revision ?: 0, push.revision)).build(),
                )
            }
            return next.addAllIncidents((others + known).takeLast(AT_MOST)).build()
        }
    }
}
