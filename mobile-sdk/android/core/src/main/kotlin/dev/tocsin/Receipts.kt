// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.kept.Waiting
import dev.tocsin.kept.Waiting.Entry
import dev.tocsin.v1.ReportReceiptsRequest
import java.io.IOException
import kotlin.math.min

/**
 * What the phone has to say about pushes, and the server has not answered. One call is under way at a time,
 * and what comes meanwhile waits for the next. `now` is milliseconds by [Clock.elapsed].
 */
internal class ReceiptQueue(storage: Storage, now: Long, private val pause: Pause = Pause()) {
    private val kept = Kept(storage, "receipts", Waiting.getDefaultInstance(), Waiting.parser())
    private val entries = ArrayList<Entry>()
    private var flying = emptyList<Entry>()
    private var tried = 0
    private var due = now

    init {
        try {
            entries.addAll(kept.get().entriesList)
        } catch (_: IOException) {
            // What comes from now on is reported.
        }
    }

    /** Takes in receipts; the same state of the same delivery waits once. */
    @Synchronized
    fun add(more: List<Entry>) {
        val fresh = more.filter { e -> entries.none { it.receipt.deliveryId == e.receipt.deliveryId && it.receipt.state == e.receipt.state } }
        if (fresh.isEmpty()) return
        entries.addAll(fresh)
        while (entries.size > AT_MOST) entries.removeAt(0)
        keep() // on a full disk they live as long as the process
    }

    /**
     * The call that begins now, or null. [server] is now by the server's clock, by which receipts are kept.
     * [locked]: the credential cannot be read, and a page's key does for that page.
     */
    @Synchronized
    fun begin(now: Long, server: Long, locked: Boolean): ReportReceiptsRequest? {
        if (entries.removeAll { server - it.atMs >= WORTH }) keep()
        if (flying.isNotEmpty() || due > now) return null
        val key = if (locked) entries.firstOrNull { it.receiptKey.isNotEmpty() }?.receiptKey ?: return null else ""
        flying = entries.filter { key.isEmpty() || it.receiptKey == key }.take(IN_ONE_CALL)
        if (flying.isEmpty()) return null
        tried++
        return ReportReceiptsRequest.newBuilder().addAllReceipts(flying.map { it.receipt }).setReceiptKey(key).build()
    }

    /** The call has ended; null: it was not made, or was broken off. */
    @Synchronized
    fun answered(now: Long, answer: Result<*>?) {
        val error = answer?.exceptionOrNull() as? TocsinException
        if (answer == null || error?.passes == true) {
            due = now + pause.after(tried, error)
        } else {
            // Taken, or never to be: each has its status in the answer, and a call that is refused is our mistake.
            entries.removeAll(flying.toSet())
            keep()
            tried = 0
            due = now
        }
        flying = emptyList()
    }

    /** The network is back, or the phone was unlocked. */
    @Synchronized
    fun hurry(now: Long) {
        due = min(due, now)
    }

    /** When the queue wants to be woken; null: not. */
    @Synchronized
    fun next(locked: Boolean): Long? =
        due.takeIf { flying.isEmpty() && entries.any { !locked || it.receiptKey.isNotEmpty() } }

    @Synchronized
    fun size(): Int = entries.size

    @Synchronized
    fun clear() {
        entries.clear()
        kept.clear()
    }

    private fun keep() {
        try {
            kept.change { Waiting.newBuilder().addAllEntries(entries).build() }
        } catch (_: IOException) {
            // They live as long as the process; of one state of one delivery the server takes the first.
        }
    }

    private companion object {
        const val IN_ONE_CALL = 100
        const val AT_MOST = 2_000
        const val WORTH = 7 * 24 * 3_600_000L // the server ignores what is older
    }
}
