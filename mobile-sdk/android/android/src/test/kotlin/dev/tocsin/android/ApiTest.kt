// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import dev.tocsin.sandbox.Api
import java.io.File
import org.junit.Test

class ApiTest {
    @Test
    fun `is what was agreed`() = Api.compare(File("../android.api"))
}
