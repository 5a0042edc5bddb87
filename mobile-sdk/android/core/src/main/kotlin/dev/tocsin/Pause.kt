// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import kotlin.math.max
import kotlin.math.min
import kotlin.random.Random

/** How long to wait before a call is made again: 1 s, doubled up to 30 s, between half and all of that. Milliseconds. */
internal class Pause(private val random: (Long) -> Long = { Random.nextLong(it + 1) }) {
    /** After the [tries]-th try, which failed by [error]; never less than the server asks for. */
    fun after(tries: Int, error: TocsinException?): Long {
        val whole = min(MOST, FIRST shl min(max(tries, 1) - 1, 10))
        val half = whole / 2
        return max(half + random(whole - half), (error as? TocsinException.Wait)?.afterMs ?: 0)
    }

    private companion object {
        const val FIRST = 1_000L
        const val MOST = 30_000L
    }
}
