// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

// What an app has of its own, and the sample names; it is compiled here so that it goes with the library.
package com.example.oncall

import android.app.Activity

internal class IncidentActivity : Activity()

internal object R {
    object drawable {
        const val ic_page = 17
    }
}
