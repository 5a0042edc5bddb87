// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.gson.JsonObject
import dev.tocsin.kept.Taps
import dev.tocsin.kept.Waiting
import dev.tocsin.v1.ActRequest
import dev.tocsin.v1.ActResponse
import dev.tocsin.v1.Receipt
import io.grpc.Metadata
import io.grpc.Status
import io.grpc.internal.GrpcUtil
import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** A storage that can be full, or locked. */
internal class Disk : Storage {
    val files = HashMap<String, ByteArray>()
    var full = false
    var locked = false
    var refuses: (ByteArray) -> Boolean = { false }

    override fun read(name: String): ByteArray? {
        if (locked) throw LockedException("locked")
        return files[name]
    }

    override fun write(name: String, content: ByteArray) {
        if (locked) throw LockedException("locked")
        if (full || refuses(content)) throw IOException("no space left on device")
        files[name] = content
    }

    override fun delete(name: String) {
        if (locked) throw LockedException("locked")
        files.remove(name)
    }
}

class QueueTest {
    // Vectors have pauses without jitter.
    private val pause = Pause { it }

    /** A failure as the HTTP status of a vector has it. */
    private fun failed(status: Int, retryAfter: Long): TocsinException {
        val trailers = Metadata()
        if (retryAfter > 0) trailers.put(Metadata.Key.of("retry-after", Metadata.ASCII_STRING_MARSHALLER), "$retryAfter")
        val named = dev.tocsin.failure.Status.newBuilder().addDetails(
            com.google.protobuf.Any.newBuilder().setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo")
                .setValue(dev.tocsin.failure.ErrorInfo.newBuilder().setReason("VECTOR").build().toByteString()),
        ).build()
        if (status in 400..499) trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), named.toByteArray())
        val code = when (status) {
            0 -> Status.UNAVAILABLE
            400 -> Status.INVALID_ARGUMENT
            409 -> Status.ABORTED
            else -> GrpcUtil.httpStatusToGrpcStatus(status)
        }
        return TocsinException.of(code, trailers, Exception("$status"))
    }

    @Test
    fun `taps are queued as the vectors say`() {
        for (case in Vectors.cases("queue.json")) {
            val disk = Disk()
            var queue = TapQueue(disk, 0, 0, pause)
            val names = HashMap<String, String>() // by action id
            var made = 0
            val over = HashMap<String, String>() // told before the process was killed
            case["steps"].asJsonArray.map { it.asJsonObject }.forEachIndexed { i, step ->
                val at = step.long("at") * 1_000
                val where = "${case.text("name")}, step ${i + 1}"
                when (step.text("do")) {
                    "tap", "tap_full" -> {
                        disk.full = step.text("do") == "tap_full"
                        val id = "${made}"
                        val request = ActRequest.newBuilder().setActionId(id).setDeliveryId(step.text("delivery")).setVerb(ActRequest.Verb.valueOf(step.text("verb")))
                        val tap = queue.add(Taps.Entry.newBuilder().setRequest(request).setTappedMs(at).setDeadlineMs(step.long("deadline") * 1_000).build(), at)
                        if (tap.actionId == id) names[id] = ('A' + made++).toString()
                        assertEquals(where, !disk.full, tap.kept)
                        disk.full = false
                    }
                    "answer" -> queue.answered(id(names, step), at, if (step["status"].asInt == 200) Result.success(ActResponse.getDefaultInstance()) else Result.failure(failed(step["status"].asInt, step.long("retry_after"))))
                    "no_answer" -> queue.answered(id(names, step), at, Result.failure(failed(0, 0)))
                    "wake" -> {}
                    "online" -> queue.hurry(at)
                    "killed" -> {
                        over.clear()
                        queue = TapQueue(disk, at, at, pause)
                    }
                    else -> error(step)
                }
                val sends = queue.begin(at).map { names.getValue(it.actionId) }
                queue.look(at)
                assertEquals("$where: sends", step["sends"].asJsonArray.map { it.asString }, sends)
                val shows = queue.all().associate { names.getValue(it.actionId) to word(it.state) }
                assertEquals("$where: shows", step["shows"].asJsonObject.texts(), shows)
                assertEquals("$where: next", step.long("next"), queue.next()?.let { it / 1_000 } ?: -1)
            }
        }
    }

    private fun id(names: Map<String, String>, step: JsonObject) = names.entries.first { it.value == step.text("action") }.key

    private fun word(state: TapState) = when (state) {
        TapState.Acting -> "acting"
        TapState.Unconfirmed -> "unconfirmed"
        is TapState.Done -> "done"
        is TapState.Refused -> "refused"
        TapState.GivenUp -> "given_up"
    }

    @Test
    fun `receipts are batched as the vectors say`() {
        for (case in Vectors.cases("batches.json")) {
            val disk = Disk()
            var queue = ReceiptQueue(disk, 0, pause)
            var locked = false
            case["steps"].asJsonArray.map { it.asJsonObject }.forEachIndexed { i, step ->
                val at = step.long("at") * 1_000
                val where = "${case.text("name")}, step ${i + 1}"
                when (step.text("do")) {
                    "add" -> queue.add(
                        (step.long("from")..maxOf(step.long("from"), step.long("to"))).map {
                            Waiting.Entry.newBuilder().setAtMs(at).setReceiptKey("d$it")
                                .setReceipt(Receipt.newBuilder().setDeliveryId("d$it").setState(Receipt.State.valueOf("STATE_" + step.text("state")))).build()
                        },
                    )
                    "answer" -> queue.answered(at, if (step["status"].asInt == 200) Result.success(Unit) else Result.failure<Unit>(failed(step["status"].asInt, step.long("retry_after"))))
                    "no_answer" -> queue.answered(at, Result.failure<Unit>(failed(0, 0)))
                    "wake" -> {}
                    "online" -> queue.hurry(at)
                    "killed" -> queue = ReceiptQueue(disk, at, pause)
                    "locked" -> locked = true
                    "unlocked" -> locked = false
                    else -> error(step)
                }
                val call = queue.begin(at, at, locked)
                val want = step["call"].takeIf { it.isJsonObject }?.asJsonObject
                assertEquals("$where: a call begins", want != null, call != null)
                if (want != null && call != null) {
                    fun word(r: Receipt) = "${r.deliveryId} ${r.state.name.removePrefix("STATE_")}"
                    val got = listOf(call.receiptsCount, word(call.getReceipts(0)), word(call.receiptsList.last()), call.receiptKey)
                    assertEquals(where, listOf(want["count"].asInt, want.text("first"), want.text("last"), want.text("receipt_key")), got)
                }
                assertEquals("$where: kept", step["kept"].asInt, queue.size())
                assertEquals("$where: next", step.long("next"), queue.next(locked)?.let { it / 1_000 } ?: -1)
            }
        }
    }

    @Test
    fun `pauses are between half and all, and at least what the server asks for`() {
        val pauses = (1..200).map { Pause().after(3, null) }
        assertTrue("$pauses", pauses.all { it in 2_000..4_000 } && pauses.distinct().size > 20)
        assertEquals(30_000, pause.after(100, null))
        assertEquals(90_000, pause.after(1, failed(503, 90)))
    }

    @Test
    fun `a disk that cannot be read keeps nobody from tapping`() {
        val disk = Disk().apply { locked = true }
        val queue = TapQueue(disk, 0, 0)
        val tap = queue.add(Taps.Entry.newBuilder().setRequest(ActRequest.newBuilder().setActionId("a")).build(), 0)
        assertTrue(!tap.kept)
        assertEquals(listOf("a"), queue.begin(0).map { it.actionId })
    }
}
